"""Several processes that train one LoRA: the same LoRA, and nobody is left waiting or running when one of them ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from data_contracts.training import TrainSettings
from models.trainers.team import Team, no_processes
from tests.models.family_runs import as_killed_after_the_first_checkpoint, request_in, tiny_examples
from tests.random_base import make_random_base
from tests.small_project import ROOT

QUICK = {"sample_every": 0, "warmup_steps": 0, "text_encoder_learning_rate": 1e-3}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.mktemp("base") / "random-base", seed=0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return tiny_examples(tmp_path_factory.mktemp("examples"), pictures=4)


def start(folder: Path, base: Path, examples, **changes) -> "subprocess.Popen[str]":
    request = request_in(folder, base, examples, **{**QUICK, **changes})
    command = [sys.executable, "-m", "models.trainers.native", str(request)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trained(folder: Path, base: Path, examples, **changes) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Return the LoRA's tensors, and the loss of each step."""
    with start(folder, base, examples, **changes) as leader:
        _, errors = leader.communicate(timeout=200)
    assert leader.returncode == 0, errors[-2000:]
    losses = [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]
    return load_file(folder / "lora.safetensors"), losses


def after_the_first_step(leader: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return a training's helpers as soon as a step is done."""
    for line in leader.stdout:
        if json.loads(line)["event"] == "progress":
            return psutil.Process(leader.pid).children()
    raise AssertionError(leader.stderr.read()[-2000:])


@pytest.fixture(scope="module")
def alone(base, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return folder, *trained(folder, base, examples, accumulate=2)


def test_two_processes_train_the_lora_of_one_to_the_bit(alone, base, examples, tmp_path: Path):
    _, weights, losses = alone
    shared, told = trained(tmp_path, base, examples, accumulate=2, processes=2)
    assert told == losses
    assert all(torch.equal(shared[key], weights[key]) for key in weights)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(alone, base, examples, tmp_path: Path):
    folder, weights, losses = alone
    (folder / "samples").mkdir()
    killed = as_killed_after_the_first_checkpoint(folder, tmp_path / "killed")
    shared, told = trained(killed, base, examples, accumulate=2, processes=2)
    assert told == losses
    assert all(torch.equal(shared[key], weights[key]) for key in weights)


def test_when_a_helper_is_killed_the_training_ends_with_its_name(base, examples, tmp_path: Path):
    with start(tmp_path, base, examples, accumulate=2, processes=2, steps=10_000) as leader:
        (helper,) = after_the_first_step(leader)
        helper.send_signal(signal.SIGKILL)
        output, _ = leader.communicate(timeout=60)
    assert leader.returncode == 1
    last = json.loads(output.splitlines()[-1])
    assert last["event"] == "error"
    assert "training process 1 ended" in last["message"] or "peer" in last["message"]


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_when_the_leader_ends_its_helpers_do(how, base, examples, tmp_path: Path):
    with start(tmp_path, base, examples, accumulate=2, processes=2, steps=10_000) as leader:
        helpers = after_the_first_step(leader)
        leader.send_signal(how)
        leader.communicate(timeout=60)
    assert leader.returncode == (143 if how == signal.SIGTERM else -how)
    _, alive = psutil.wait_procs(helpers, timeout=20)
    assert not alive


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_told_whoever_finds_it(base, examples, tmp_path: Path):
    path = base / "unet/diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    weights = load_file(path)
    weights["conv_in.bias"][0] = torch.nan
    save_file(weights, path, {"format": "pt"})
    try:
        with start(tmp_path, base, examples, accumulate=2, processes=2) as leader:
            output, _ = leader.communicate(timeout=200)
    finally:
        path.write_bytes(whole)
    assert leader.returncode == 1
    assert "loss nan at step 1 on" in json.loads(output.splitlines()[-1])["message"]


def test_what_cannot_be_shared_is_refused(monkeypatch):
    with pytest.raises(ValidationError, match="processes is 2, but accumulate is 3"):
        TrainSettings.model_validate({"processes": 2, "accumulate": 3})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert no_processes(2) == "processes is 2, but this machine has 1 GPU: set it to 1 at most"
    assert no_processes(1) == ""


def test_passes_are_shared_evenly():
    shares = [list(Team(rank, 3).passes(6)) for rank in range(3)]
    assert shares == [[0, 3], [1, 4], [2, 5]]
    assert list(Team().passes(4)) == [0, 1, 2, 3]
