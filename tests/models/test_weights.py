"""Weights are found where they were fetched to, refused with the command that fetches them, opened only as pinned."""

import hashlib
import os
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest

from models.backends import Backend, Backends
from models.web_file import FOLDER_VARIABLE, WebFile, _sha256_as_seen
from models.weights import HubModel, MissingWeights, Package, PackagedFile, fetcher

REVISION = "0123456789abcdef0123456789abcdef01234567"
MODEL = HubModel("somebody/model", REVISION, "MIT", 1.0, ("config.json", "onnx/model.onnx"))


@pytest.fixture
def web(tmp_path):
    """Serve a folder; return it and its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def web_file(address: str, data: bytes) -> WebFile:
    return WebFile("net.pt", f"{address}/net.pt", hashlib.sha256(data).hexdigest(), "MIT", 0.1)


def test_a_hub_model_is_found_at_its_commit_only(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--somebody--model" / "snapshots" / REVISION
    (snapshot / "onnx").mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(MissingWeights, match=rf"onnx/model.onnx of somebody/model@01234567 .*--revision {REVISION}"):
        MODEL.path()
    (snapshot / "onnx/model.onnx").write_bytes(b"x")
    assert MODEL.path() == snapshot
    other = HubModel(MODEL.repository, REVISION[::-1], "MIT", 1.0, ("config.json",))
    with pytest.raises(MissingWeights, match=r"hf download somebody/model config\.json"):
        other.path()


def test_a_file_is_fetched_once_and_opened_only_as_pinned(web, tmp_path: Path, monkeypatch):
    folder, address = web
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    (folder / "net.pt").write_bytes(b"true weights")
    file = web_file(address, b"true weights")
    with pytest.raises(MissingWeights, match=r"^\$REEL2LORA_WEIGHTS/net.pt does not exist: `curl"):
        file.path()
    file.fetch()
    assert file.path().read_bytes() == b"true weights"
    file.path().write_bytes(b"torn")
    with pytest.raises(MissingWeights, match="is broken or another file, and is not opened"):
        file.path()


def test_a_digest_is_computed_once_until_the_file_changes(tmp_path: Path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    file = web_file("http://web", b"true weights")
    (tmp_path / "net.pt").write_bytes(b"true weights")
    computed = _sha256_as_seen.cache_info().misses
    assert {file.path() for _ in range(3)} == {tmp_path / "net.pt"}
    assert _sha256_as_seen.cache_info().misses == computed + 1
    (tmp_path / "net.pt").write_bytes(b"evil weights")
    os.utime(tmp_path / "net.pt", ns=(0, 1))  # of the same length, written a moment later: clocks are coarse
    with pytest.raises(MissingWeights, match="is not opened"):
        file.path()
    assert _sha256_as_seen.cache_info().misses == computed + 2


def test_what_is_not_the_pinned_file_is_not_kept(web, tmp_path: Path, monkeypatch):
    folder, address = web
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    (folder / "net.pt").write_bytes(b"something else")
    with pytest.raises(MissingWeights, match="it was not kept"):
        web_file(address, b"true weights").fetch()
    assert not list((tmp_path / "weights").iterdir())


def test_in_the_users_cache_no_machine_path_is_shown(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    command = web_file("http://web", b"").command
    assert "--output ~/" in command
    assert str(Path.home()) not in command


def test_packages_and_their_files_say_how_they_are_installed():
    with pytest.raises(
        MissingWeights, match=r"'nosuch', which carries a\.tflite, is not installed: run `make install`"
    ):
        PackagedFile("nosuch", "a.tflite", "MIT", 1.0).path()
    with pytest.raises(MissingWeights, match=r"installed but has no a\.tflite"):
        PackagedFile("pytest", "a.tflite", "MIT", 1.0).path()
    with pytest.raises(MissingWeights, match="`pip install nosuch`"):
        Package("nosuch", "MIT", "pip install nosuch").path()
    assert Package("pytest", "MIT", "pip install pytest").path().is_dir()
    assert fetcher(Package("pytest", "MIT", "")) is None
    assert fetcher(MODEL) is not None


def test_a_backend_is_made_only_when_all_it_needs_is_there():
    missing = Package("nosuch", "MIT", "pip install nosuch")
    jobs = Backends("painter", {"brush": Backend(lambda *given: given), "spray": Backend(tuple, (missing,))})
    assert jobs.load("brush", 1, 2) == (1, 2)
    assert list(jobs) == ["brush", "spray"]
    assert "brush" in jobs
    assert "pen" not in jobs
    with pytest.raises(MissingWeights, match="nosuch"):
        jobs.load("spray")
    with pytest.raises(ValueError, match="no painter is called 'pen'; known are: brush, spray"):
        jobs.load("pen")


class Refusing(BaseHTTPRequestHandler):
    """Answers as the hub does where a model's licence was not accepted."""

    def do_GET(self):
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()


def test_what_the_hub_refuses_is_said_in_a_line_with_what_to_do(tmp_path: Path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    gated = replace(MODEL, gated=True)
    refused = r"^somebody/model@01234567 was not fetched \(.*403.*\): accept its licence .*, then `hf download"
    with pytest.raises(MissingWeights, match=refused):
        gated.fetch()
    server.shutdown()


def test_a_file_that_the_web_does_not_have_is_no_traceback(web, tmp_path: Path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    with pytest.raises(MissingWeights, match=r"^net\.pt was not fetched \(.*404.*`curl --location"):
        web_file(web[1], b"true weights").fetch()
    assert list((tmp_path / "weights").iterdir()) == []
