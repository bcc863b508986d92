"""The average of an adapter's weights is what is kept, and changes nothing in what is learnt."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_contracts.faults import InputFault
from data_contracts.training import TrainSettings
from models.diffusion import sd15
from models.diffusion.lora_file import load_kohya
from models.trainers.average import Average
from models.trainers.kohya_config import require_possible
from models.trainers.step import Adapter
from tests.models.family_runs import as_killed_after_the_first_checkpoint, left_by, tiny_examples, train_in
from tests.random_base import make_random_base

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-average", seed=0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list:
    return tiny_examples(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def run(base, examples, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("averaged")
    train_in(folder, base, examples, ema=0.5)
    return folder


def test_the_average_follows_its_formula_and_leaves_the_weights_alone(base):
    adapter = Adapter(sd15.load(base, device="cpu"), TrainSettings(rank=2, text_encoder_learning_rate=0.0))
    average = Average(adapter, 0.25)
    name = next(iter(average.values))
    expected = average.values[name].clone()
    for step in range(1, 6):
        for value in adapter.tensors().values():
            value.fill_(float(step))
        average.follow(step)
        kept = min(0.25, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
        torch.testing.assert_close(average.values[name], expected)
    with average.in_place():
        assert torch.equal(adapter.tensors()[name], average.values[name])
    assert all(bool((value == 5).all()) for value in adapter.tensors().values())


def test_what_is_written_is_the_average_and_what_is_learnt_stays_the_same(run, base, examples, tmp_path):
    train_in(tmp_path, base, examples)
    assert (run / "loss.jsonl").read_bytes() == (tmp_path / "loss.jsonl").read_bytes()
    last, plain = (folder / "checkpoints/step-000004" for folder in (run, tmp_path))
    weights, without = load_file(last / "weights.safetensors"), load_file(plain / "weights.safetensors")
    assert all(torch.equal(weights[name], without[name]) for name in weights | without)
    assert not (plain / "average.safetensors").exists()
    average = load_file(last / "average.safetensors")
    written = load_kohya(run / "lora.safetensors").unet[LAYER.replace(".", "_")]
    assert torch.equal(written.up, average[f"unet/{LAYER}.lora_B.trained.weight"])
    assert not torch.equal(written.up, weights[f"unet/{LAYER}.lora_B.trained.weight"])
    ours, theirs = ((folder / "samples/step-000004-0.png").read_bytes() for folder in (run, tmp_path))
    assert ours != theirs  # samples, too, are drawn with the average


def test_a_killed_training_goes_on_to_the_same_average(run, base, examples, tmp_path):
    killed = as_killed_after_the_first_checkpoint(run, tmp_path / "killed")
    train_in(killed, base, examples, ema=0.5)
    assert left_by(killed) == left_by(run)
    ours, theirs = (folder / "checkpoints/step-000004/average.safetensors" for folder in (killed, run))
    assert ours.read_bytes() == theirs.read_bytes()


def test_sd_scripts_average_nothing(base):
    with pytest.raises(InputFault, match=r"ema is 0\.9, but kohya's sd-scripts average no weights"):
        require_possible(base, TrainSettings(ema=0.9))


@pytest.fixture(autouse=True)
def _plain_arithmetic():
    """Training asks torch for deterministic algorithms: not for the tests after these."""
    yield
    torch.use_deterministic_algorithms(mode=False)
