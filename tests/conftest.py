"""A small project that runs the whole graph on three shots of the sample film in about a minute."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "luca.yaml"
SMALL = {
    "films": "[{path: samples/harbour/harbour.mp4, from_frame: 96, to_frame: 456}]",
    "extract_frames.every_s": "0.5",
    "extract_frames.max_height": "192",
    "inpaint_plates.per_shot": "2",
    **{f"loras.{name}.train.steps": "6" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.warmup_steps": "1" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.checkpoint_every": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.sample_every": "6" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.sample_steps": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.evaluate.steps": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.evaluate.seeds": "[1]" for name in ("luca", "portorosso", "running", "happy")},
    "compose_loras.steps": "2",
    "compose_loras.seeds": "[1, 2]",
}

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")


def small_project(workspace: Path) -> dict[str, str]:
    """Return the changes that make the sample project small, kept in `workspace`."""
    return {**SMALL, "workspace": str(workspace)}


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
