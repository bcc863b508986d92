"""What the tests of the whole graph share."""

import os

import pytest

from tests.small_project import CONFIG, small_project

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Two test processes share two cores: with two threads each, networks took half as long again.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def allowed(tmp_path, monkeypatch):
    """Let the sample project keep its work in the test's own folder."""
    monkeypatch.setenv("REEL2LORA_ALLOW", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Return the workspace of one finished run of the small project, read-only for the tests that share it."""
    from flows.build_all import build_all

    folder = tmp_path_factory.mktemp("finished")
    old = os.environ.get("REEL2LORA_ALLOW")
    os.environ["REEL2LORA_ALLOW"] = str(folder)
    try:
        build_all.fn(CONFIG, small_project(folder / "work"))
    finally:
        os.environ.pop("REEL2LORA_ALLOW")
        if old is not None:
            os.environ["REEL2LORA_ALLOW"] = old
    return folder / "work"
