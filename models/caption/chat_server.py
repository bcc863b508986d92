"""An OpenAI-style HTTP server: asked politely, waited for when it is busy, given up on with the reason.

https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

import logging
import math
import os
import random
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from data_contracts.faults import StageFault
from models.weights import MissingWeights

logger = logging.getLogger(__name__)
KEY_VARIABLE = "OPENAI_API_KEY"
"""Names the key, where the server wants one; read from nowhere else, written nowhere."""
BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""These, and all of the server's own faults, may be gone when one waits; any other refusal will be the same again."""
MAX_CONNECTIONS = 256
SHOWN = 200  # characters of a server's own words in a message
START = "start it, such as `vllm serve Qwen/Qwen2-VL-7B-Instruct`, or mend `caption.server`"
REMEDIES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: f"set the environment variable {KEY_VARIABLE} to a key of this server",
    HTTPStatus.FORBIDDEN: f"set the environment variable {KEY_VARIABLE} to a key that may use this model",
    HTTPStatus.NOT_FOUND: "mend `caption.server` (without /chat/completions) and `caption.model`",
}


class ChatServerFault(MissingWeights, StageFault):
    """The server cannot be used: a fault of preflight's, and of the stage when it happens on the way."""


class Refused(ChatServerFault):
    """The server answered that it will not do this; `words` are its own."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    timeout_s: seconds for one answer; large models take tens of them when a whole batch is asked at once.
    greeting_s: seconds for the first word, so that a server that is not there is known before a run starts.
    tries: of a request, the first one counted.
    first_wait_s: seconds before the second try; doubled each time up to `max_wait_s`, less a random part of a half.
    """

    timeout_s: float = 120.0
    greeting_s: float = 5.0
    tries: int = 6
    first_wait_s: float = 1.0
    max_wait_s: float = 30.0

    def wait_s(self, tried: int, wished_s: float | None) -> float:
        """Return the seconds to wait after `tried` tries; what the server wishes counts up to `max_wait_s`."""
        if wished_s is not None:
            return min(self.max_wait_s, wished_s)
        return min(self.max_wait_s, self.first_wait_s * 2.0 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311


class ChatServer:
    """A server at an address such as http://localhost:8000, with or without /v1; safe to ask from many threads.

    Raises:
        ChatServerFault: the address is none.
    """

    def __init__(self, address: str, patience: Patience) -> None:
        self._patience = patience
        self._shown = address.rstrip("/").removesuffix("/v1")
        self._key = os.environ.get(KEY_VARIABLE, "")
        try:
            self._client = httpx.Client(
                base_url=f"{self._shown}/v1",
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=patience.timeout_s,
                limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            message = f"caption.server {address!r} is no address ({error}): give one such as http://localhost:8000"
            raise ChatServerFault(message) from error

    def served(self) -> list[str]:
        """Return the names of the models that it serves.

        Raises:
            ChatServerFault: it does not answer, or answers something else.
        """
        try:
            reply = self._client.get("/models", timeout=self._patience.greeting_s)
        except httpx.RequestError as error:
            raise ChatServerFault(self._says(f"does not answer ({_named(error)})", START)) from error
        if not reply.is_success:
            raise self._refusal(reply)
        try:
            return [str(model["id"]) for model in reply.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ChatServerFault(self._says("lists no models under /v1/models", START)) from error

    def complete(self, request: dict[str, Any]) -> str:
        """Return the text that the server answers a chat completion's request with; "" where it answers none.

        Raises:
            Refused: it will not do this.
            ChatServerFault: it did not answer in all tries, or never what a chat completion is.
        """
        fault = ""
        for tried in range(1, self._patience.tries + 1):
            wished = None
            try:
                reply = self._client.post("/chat/completions", json=request)
            except httpx.RequestError as error:
                fault = f"does not answer ({_named(error)})"
            else:
                if reply.is_success and (text := _text_of(reply)) is not None:
                    return text
                if reply.status_code not in BUSY and not (reply.is_success or reply.is_server_error):
                    raise self._refusal(reply)
                malformed = "no chat completion, " if reply.is_success else ""
                fault, wished = f"answers {malformed}{self._status(reply)}", _wished_s(reply)
            logger.info("the captioning server %s, try %d of %d", fault, tried, self._patience.tries)
            if tried < self._patience.tries:
                time.sleep(self._patience.wait_s(tried, wished))
        remedy = f"see its log, or {START}; finished shots are kept, and the same command goes on from them"
        raise ChatServerFault(self._says(f"{fault}, {self._patience.tries} times", remedy))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _refusal(self, reply: httpx.Response) -> Refused:
        remedy = REMEDIES.get(reply.status_code, "see its log")
        return Refused(self._says(f"answers {self._status(reply)}", remedy), reply.text)

    def _status(self, reply: httpx.Response) -> str:
        """Return the status and the server's own words, on one line, without the key."""
        words = " ".join(reply.text.split())
        said = words.replace(self._key, "…") if self._key else words
        return f"{reply.status_code} {reply.reason_phrase}: {said[:SHOWN]}"

    def _says(self, fault: str, remedy: str) -> str:
        return f"the captioning server {self._shown} {fault}: {remedy}"


def _text_of(reply: httpx.Response) -> str | None:
    """Return the text of a chat completion, "" where the model said nothing; None where it is no chat completion."""
    try:
        content = reply.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return content if isinstance(content, str) else "" if content is None else None


def _wished_s(reply: httpx.Response) -> float | None:
    """Return how many seconds the server wishes to be left alone; None where it does not say, or says a date."""
    try:
        wished = float(reply.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return max(0.0, wished) if math.isfinite(wished) else None


def _named(error: httpx.RequestError) -> str:
    """Return an error's kind and words: time-outs have none."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
