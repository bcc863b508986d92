"""An OpenAI-style server on loopback that answers as it is told to, and notes what it was asked."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import cv2
import numpy as np

MODEL = "tiny-vl"


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing when a client did not wait for its answer."""

    daemon_threads = True

    def handle_error(self, request: object, address: object) -> None:
        """Say nothing on the terminal."""


@dataclass
class Reply:
    """What the server answers: a status, a body and headers, after `delay_s` seconds."""

    status: int = 200
    body: object = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass
class FakeServer:
    """Where it is, the requests for chat completions and their headers, and what answers them."""

    address: str = ""
    models: Reply = field(default_factory=lambda: Reply(body={"data": [{"id": MODEL}]}))
    replies: Callable[[int, dict[str, Any]], Reply] = lambda _, __: said({})
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


def said(answer: object) -> Reply:
    """Return a chat completion whose text is `answer`, as JSON where it is no text."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return Reply(body={"choices": [{"message": {"role": "assistant", "content": text}}]})


def in_turn(*replies: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    """Return what gives these replies one after another, then the last one again and again."""
    return lambda number, _: replies[min(number, len(replies) - 1)]


def seen_in(asked: dict[str, Any]) -> np.ndarray:
    """Return the picture of a request, `(H, W, 3)` RGB uint8."""
    url = asked["messages"][0]["content"][0]["image_url"]["url"]
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


@contextmanager
def fake_server(replies: Callable[[int, dict[str, Any]], Reply] | None = None) -> Iterator[FakeServer]:
    """Serve on a free port of loopback for as long as the block lasts."""
    fake = FakeServer()
    fake.replies = replies or fake.replies

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(fake.models if self.path == "/v1/models" else Reply(404))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append(asked)
            fake.keys.append(self.headers.get("Authorization"))
            here = self.path == "/v1/chat/completions"
            self.answer(fake.replies(len(fake.requests) - 1, asked) if here else Reply(404))

        def answer(self, reply: Reply) -> None:
            time.sleep(reply.delay_s)
            body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(body.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing on the terminal."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    fake.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
