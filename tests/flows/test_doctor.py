"""`reel2lora doctor` says what is here, what it costs to have, and how what is missing comes here."""

from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from data_contracts.faults import StageFault
from data_contracts.project_file import load_project
from flows.commands.doctor import fetch_missing
from flows.main import app
from models.backends import Backend, Backends
from models.web_file import WebFile
from models.weights import MissingWeights, Package
from tasks import backends as stage_backends
from tests.small_project import CONFIG


def doctor(*options: str):
    return CliRunner().invoke(app, ["doctor", str(CONFIG), *options], env={"COLUMNS": "250"})


def test_the_lite_project_has_all_it_needs_and_all_backends_can_be_listed():
    result = doctor("--all", "--fetch")
    assert result.exit_code == 0, result.output
    assert result.output.count("loads") == 18
    assert "selfie loads" in result.output
    assert "all that luca needs is here: reel2lora run " in result.output
    assert "selfie_segmentation.tflite of mediapipe" in result.output
    assert "Apache-2.0" in result.output
    assert "(this project's)" in result.output


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_what_is_missing_fails_with_the_command_that_fetches_it(options, monkeypatch, tmp_path):
    monkeypatch.setenv("REEL2LORA_WEIGHTS", str(tmp_path))
    needed = WebFile("net.pt", "http://127.0.0.1:9/net.pt", "0" * 64, "MIT", 196.0)
    without = Backends("inpainter", {"patchmatch": Backend(object, (needed,))})
    place = stage_backends.Place(without, lambda _: ["patchmatch"], lambda name, _: without.load(name))
    monkeypatch.setitem(stage_backends.PLACES, "inpaint_plates.backend", place)
    result = doctor(*options)
    assert isinstance(result.exception, StageFault)
    assert "1 of the things that luca needs" in str(result.exception)
    assert "$REEL2LORA_WEIGHTS/net.pt" in result.output
    assert ("196" in result.output) == bool(options)


def test_what_two_backends_lack_is_fetched_once_and_packages_are_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("REEL2LORA_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "net.pt").write_bytes(b"weights")
    asked: list[str] = []

    class Web(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append(f"{self.path} {code}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Web, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/net.pt"
    needs = (WebFile("net.pt", address, sha256(b"weights").hexdigest(), "MIT", 0.1), Package("nosuch", "MIT", "pip"))
    lacking = Backends("inpainter", {"one": Backend(object, needs), "other": Backend(object, needs[:1])})
    place = stage_backends.Place(lacking, lambda _: ["one", "other"], lambda name, _: lacking.load(name))
    monkeypatch.setattr("flows.commands.doctor.PLACES", {"inpaint_plates.backend": place})
    for _ in range(2):
        fetch_missing(load_project(CONFIG))
    server.shutdown()
    assert asked == ["/net.pt 200"]
    assert lacking.load("other") is not None
    with pytest.raises(MissingWeights, match="nosuch"):
        lacking.load("one")
