"""Jobs are done by workers: one after another by the same one, and what goes wrong is told."""

import os
import time
from pathlib import Path

import pytest

from data_contracts.config import Config
from data_contracts.faults import StageFault
from models.child import emit, stop_requested
from tasks.job import run_job


class Asked(Config):
    """What a job shall do."""

    fail: bool = False
    wait: bool = False


def work(request: Path) -> None:
    """Do as asked, and tell who did it."""
    asked = Asked.model_validate_json(request.read_text())
    if asked.fail:
        message = "the picture is blue"
        raise ValueError(message)
    while asked.wait and not stop_requested():
        time.sleep(0.01)
    emit("done", pid=os.getpid(), colour=os.environ.get("COLOUR"))


def done_by(folder: Path, **asked: bool) -> dict:
    return run_job(f"{__name__}:work", Asked(**asked), folder, lambda event: None, 5 if "wait" in asked else 200)


def test_the_next_job_is_done_by_the_same_process(tmp_path):
    assert done_by(tmp_path / "first")["pid"] == done_by(tmp_path / "second")["pid"] != os.getpid()


def test_a_changed_environment_reaches_the_next_job(tmp_path, monkeypatch):
    assert done_by(tmp_path)["colour"] is None
    monkeypatch.setenv("COLOUR", "red")
    assert done_by(tmp_path)["colour"] == "red"


def test_a_failed_job_says_why_and_the_next_one_is_done(tmp_path):
    with pytest.raises(StageFault, match=r"ended with code 1: the picture is blue"):
        done_by(tmp_path, fail=True)
    assert done_by(tmp_path)["event"] == "done"


def test_a_job_that_takes_too_long_is_stopped(tmp_path):
    with pytest.raises(StageFault, match=r"stopped after its limit of 5 s; its state is kept: raise `max_seconds`"):
        done_by(tmp_path, wait=True)


def test_a_job_whose_events_cannot_be_followed_is_stopped(tmp_path):
    def refuse(event):
        raise KeyError(event["event"])

    with pytest.raises(KeyError, match="done"):
        run_job(f"{__name__}:work", Asked(), tmp_path, refuse)
    assert done_by(tmp_path)["event"] == "done"
