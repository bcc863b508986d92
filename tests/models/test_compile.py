"""A compiled training learns what a plain one does, and resumes; without a compiler it is refused before it starts."""

import json
from pathlib import Path

import pytest
import torch

from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.training import TrainSettings
from flows.checks.memory_faults import trainer_faults
from models.device import no_compiling
from models.trainers.kohya_config import require_possible
from tests.models.family_runs import as_killed_after_the_first_checkpoint, left_by, tiny_examples, train_in
from tests.random_base import make_random_base
from tests.small_project import CONFIG

NOT_HERE = no_compiling(torch.device("cpu"))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-compiled", seed=0)


def losses_of(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "loss.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(bool(NOT_HERE), reason=NOT_HERE)
def test_a_compiled_training_learns_the_same_and_resumes_to_the_bit(base, tmp_path):
    examples = tiny_examples(tmp_path)
    changes = {"masked_prior": 0.5, "conv_rank": 2}
    train_in(tmp_path / "plain", base, examples, **changes)
    train_in(tmp_path / "compiled", base, examples, compile=True, **changes)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    assert not torch._dynamo.utils.counters["graph_break"]
    plain, compiled = losses_of(tmp_path / "plain"), losses_of(tmp_path / "compiled")
    assert compiled == pytest.approx(plain, rel=1e-3)
    assert compiled != plain
    killed = as_killed_after_the_first_checkpoint(tmp_path / "compiled", tmp_path / "killed")
    train_in(killed, base, examples, compile=True, **changes)
    assert left_by(killed) == left_by(tmp_path / "compiled")


def test_without_a_compiler_it_is_refused_with_what_to_do(base, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    project = load_project(CONFIG, {"loras.luca.train.compile": "true"})
    (fault,) = trainer_faults(project, base, ["luca"])
    assert fault.place == "loras.luca.train"
    assert "compile is on, but there is no C++ compiler 'no-such-compiler': install g++, or name one" in fault.value


def test_it_is_not_promised_for_sd_scripts(base):
    with pytest.raises(InputFault, match=r"compile is on, but .* train with `trainer: native`, or set compile to"):
        require_possible(base, TrainSettings(compile=True))
