"""What TensorBoard reads is what a training logged, each step once, whatever it was killed at."""

import importlib.util
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from data_contracts.training import TrainSettings
from models.trainers import board
from models.trainers.board import Board
from models.weights import MissingWeights, Package
from tests.models.family_runs import tiny_examples
from tests.models.test_drawn import asked, run
from tests.random_base import make_random_base

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="event files need tensorboard"
)
WATCHED = {"tensorboard": True, "sample_every": 2, "sample_prompts": ["{trigger} in a harbour"]}


def read(folder: Path) -> dict[str, Counter[int]]:
    """Return how often each step is in the event files, by tag."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, Counter[int]] = {}
    for path in folder.glob("events.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, Counter())[event.step] += 1
    return found


@pytest.fixture(scope="module")
def request_parts(tmp_path_factory) -> tuple[Path, list]:
    base = make_random_base(tmp_path_factory.getbasetemp() / "random-base-board", seed=0)
    return base, tiny_examples(tmp_path_factory.mktemp("pictures"), 7)


@needs_tensorboard
def test_a_resumed_training_has_every_step_once(request_parts, tmp_path):
    """Killed after step 3, whose events are written, with step 2 as its last checkpoint."""
    run(asked(tmp_path, *request_parts, **WATCHED))
    steps = Counter({1: 1, 2: 1, 3: 1, 4: 1})
    expected = {"loss/learnt batch": steps, "learning rate": steps} | {
        f"{name}": Counter(dict.fromkeys(at, 1))
        for name, at in (
            ("loss/held out", (0, 2, 4)),
            ("drawn/likeness", (0, 2, 4)),
            ("drawn/copies", (0, 2, 4)),
            ("drawn/diversity", (0, 2, 4)),
            *((f"drawn/{number}", (0, 2, 4)) for number in range(3)),
            ("sample/0", (2, 4)),
        )
    }
    assert read(tmp_path / "tensorboard") == expected
    weights = (tmp_path / "lora.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "checkpoints/step-000004")
    (tmp_path / "lora.safetensors").unlink()
    run(asked(tmp_path, *request_parts, **WATCHED))
    assert read(tmp_path / "tensorboard") == expected
    assert (tmp_path / "lora.safetensors").read_bytes() == weights


def test_event_files_are_of_no_account_for_what_is_learnt(request_parts, tmp_path):
    from data_contracts.digest import digest_of
    from models.trainers.checkpoint import request_digest

    plain, watched = (asked(tmp_path, *request_parts, tensorboard=each) for each in (False, True))
    assert request_digest(plain) == request_digest(watched)
    assert digest_of(TrainSettings(tensorboard=True)) == digest_of(TrainSettings())


def test_without_tensorboard_a_training_says_how_to_get_it(request_parts, tmp_path, monkeypatch):
    absent = Package("tensorboard-that-is-not-there", "Apache-2.0", "pip install 'reel2lora[tensorboard]'", 54)
    without = board.Backends("event file", {"tensorboard": board.Backend(lambda _: None, (absent,))})
    monkeypatch.setattr(board, "EVENT_FILES", without)
    with pytest.raises(MissingWeights, match=r"pip install 'reel2lora\[tensorboard\]'"):
        Board(asked(tmp_path, *request_parts), 0)


@pytest.fixture(autouse=True)
def _plain_arithmetic():
    """Training asks torch for deterministic algorithms: not for the tests after these."""
    yield
    torch.use_deterministic_algorithms(mode=False)
