"""A vision-language model behind an OpenAI-style HTTP server: as many crops at once as the stage hands over.

Pictures travel in the question as data URLs. The answer's JSON Schema is sent along, so that a server that can guide
the model's words (vLLM's structured outputs) lets it say nothing else.
"""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from data_contracts.records import LoraType
from models.caption.answers import UnreadableAnswer, answer_schema
from models.caption.asking import MAX_NEW_TOKENS, TEMPERATURE, describe_with
from models.caption.chat_server import ChatServer, ChatServerFault, Patience, Refused
from models.caption.questions import Question
from models.caption.template import Facts
from models.pictures import Picture, encode_png
from models.seeds import derived_seed

MAX_SIDE = 1024
"""Pixels. Larger crops are sent smaller: the networks served see fewer, and a PNG of 2160 x 2160 has 7 MB."""
SCHEMA_WORDS = ("response_format", "json_schema", "guided")
"""A refusal that names one of these is the server's that knows no JSON Schema."""


class OpenAIServer:
    """The `openai-server` captioner."""

    looks = True

    def __init__(self, address: str | None, model: str | None, patience: Patience | None = None) -> None:
        """Greet the server.

        Raises:
            ValueError: no address or no model is named.
            ChatServerFault: it does not answer, or does not serve the model.
        """
        if address is None:
            message = "`caption.server` is not set: give the server's address, such as http://localhost:8000"
            raise ValueError(message)
        self._server = ChatServer(address, patience or Patience())
        served = self._server.served()
        if model not in served:
            said = "`caption.model` is not set" if model is None else f"caption.model {model!r} is not served"
            message = f"{said} at {address}: name one of {', '.join(served) or 'none'}"
            raise ChatServerFault(message)
        self._model = model
        self._knows_schemas = True

    def describe(
        self, crops: Sequence[Picture], known: Sequence[Facts], kind: LoraType
    ) -> list[Facts | UnreadableAnswer]:
        """Return what is known of each crop and what the model sees (see `Captioner`); all are asked at once.

        Raises:
            ChatServerFault: the server can no longer be used.
        """
        return describe_with(self, crops, known, kind)

    def answer(self, crops: Sequence[Picture], questions: Sequence[Question], attempt: int) -> list[str]:
        """Return the model's answers (see `VisionModel`).

        Raises:
            ChatServerFault: the server can no longer be used.
        """
        with ThreadPoolExecutor(max_workers=len(crops)) as pool:
            return list(pool.map(lambda crop, question: self._ask(crop, question, attempt), crops, questions))

    def release(self) -> None:
        """Close the connections."""
        self._server.close()

    def _ask(self, crop: Picture, question: Question, attempt: int) -> str:
        request = self._request(crop, question, attempt)
        if not self._knows_schemas:
            return self._server.complete(request)
        try:
            schema = {"name": "caption", "strict": True, "schema": answer_schema(question)}
            return self._server.complete({**request, "response_format": {"type": "json_schema", "json_schema": schema}})
        except Refused as refusal:
            if not any(word in refusal.words for word in SCHEMA_WORDS):
                raise
            self._knows_schemas = False
            return self._server.complete(request)

    def _request(self, crop: Picture, question: Question, attempt: int) -> dict[str, Any]:
        """Return a chat completion's request: the picture first, as the networks were taught."""
        data = base64.b64encode(encode_png(_shrunk(crop))).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": [picture, {"type": "text", "text": question.text}]}],
            "max_tokens": MAX_NEW_TOKENS,
            "temperature": TEMPERATURE if attempt else 0.0,
            "seed": derived_seed(attempt, "caption") % 2**31,  # servers keep it in 32 or 64 bits
        }


def _shrunk(crop: Picture) -> Picture:
    """Return the crop with its longer side at most MAX_SIDE pixels."""
    if (scale := MAX_SIDE / max(crop.shape[:2])) >= 1:
        return crop
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
