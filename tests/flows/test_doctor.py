"""`reel2lora doctor` says what is here, what it costs to have, and how what is missing comes here."""

import pytest
from typer.testing import CliRunner

from data_contracts.faults import StageFault
from flows.main import app
from models.backends import Backend, Backends
from models.weights import WebFile
from tasks import backends as stage_backends
from tests.small_project import CONFIG


def doctor(*options: str):
    return CliRunner().invoke(app, ["doctor", str(CONFIG), *options], env={"COLUMNS": "250"})


def test_the_lite_project_has_all_it_needs_and_all_backends_can_be_listed():
    result = doctor("--all", "--fetch")
    assert result.exit_code == 0, result.output
    assert result.output.count("loads") == 9
    assert "selfie_segmentation.tflite of mediapipe" in result.output
    assert "Apache-2.0" in result.output
    assert "(this project's)" in result.output


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_what_is_missing_fails_with_the_command_that_fetches_it(options, monkeypatch, tmp_path):
    monkeypatch.setenv("REEL2LORA_WEIGHTS", str(tmp_path))
    needed = WebFile("net.pt", "http://127.0.0.1:9/net.pt", "0" * 64, "MIT", 196.0)
    without = Backends("inpainter", {"patchmatch": Backend(object, (needed,))})
    place = stage_backends.Place(without, without.load)
    monkeypatch.setitem(stage_backends.PLACES, "inpaint_plates.backend", place)
    result = doctor(*options)
    assert isinstance(result.exception, StageFault)
    assert "1 of the things that luca needs" in str(result.exception)
    assert "$REEL2LORA_WEIGHTS/net.pt" in result.output
    assert ("196" in result.output) == bool(options)
