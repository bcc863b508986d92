"""Held-out pictures say when a LoRA learns its pictures by heart; the choice survives a kill."""

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from data_contracts.faults import InputFault
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from data_contracts.validations import Validation, read_validations
from models import child
from models.diffusion import lite_base, sd15
from models.diffusion.flow import FlowMatching
from models.diffusion.lora_stack import adapters_off
from models.diffusion.objective import Objective
from models.trainers.choice import best_of
from models.trainers.course import Course
from models.trainers.held_out import HeldOut, spread_timesteps
from models.trainers.native import train
from models.trainers.step import Adapter
from tests.killed import end_at
from tests.models.family_runs import tiny_examples
from tests.models.test_trainer import finish, start
from tests.random_base import make_random_base

ROOT = Path(__file__).parents[2]
TINY = {
    "rank": 2,
    "alpha": 2.0,
    "learning_rate": 1e-2,
    "text_encoder_learning_rate": 1e-3,
    "steps": 6,
    "batch": 2,
    "resolution": 64,
    "warmup_steps": 1,
    "masked_loss": True,
    "checkpoint_every": 4,
    "validate_every": 2,
}
BY_HEART = {
    "rank": 8,
    "alpha": 8.0,
    "learning_rate": 5e-3,
    "text_encoder_learning_rate": 0.0,
    "scheduler": "constant",
    "steps": 16,
    "batch": 1,
    "resolution": 128,
    "warmup_steps": 1,
    "caption_dropout": 0.0,
    "noise_offset": 0.0,
    "min_snr_gamma": 0.0,
    "checkpoint_every": 6,
    "validate_every": 4,
}
"""One picture at a high rate on the base model that comes along: it is soon known by heart."""


def written(output: Path, base: Path, parts: tuple[list[TrainExample], ...], settings: dict, **changes) -> Path:
    """Write a request; `parts` are what is learnt, held out and compared."""
    learnt, held_out, compared = parts
    request = TrainRequest(
        name="luca",
        base=base,
        examples=tuple(learnt),
        held_out=tuple(held_out),
        compared=tuple(compared),
        output=output,
        settings=TrainSettings.model_validate({**settings, **changes}),
        threads=1,
    )
    output.mkdir(parents=True, exist_ok=True)
    path = output / "request.json"
    path.write_text(request.model_dump_json())
    return path


def left_by(folder: Path) -> dict[str, bytes]:
    names = ("lora.safetensors", "loss.jsonl", "validation.jsonl", "best.safetensors")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-held-out", seed=0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[list[TrainExample], ...]:
    five = tiny_examples(tmp_path_factory.mktemp("tiny"), 5)
    return five[:3], five[3:], five[:2]


@pytest.fixture(scope="module")
def by_heart() -> tuple[list[TrainExample], ...]:
    pictures = {path.stem: path for path in sorted((ROOT / "samples/references").glob("*.png"))}
    luca = [TrainExample(image=pictures["luca"], caption="luca")]
    others = [TrainExample(image=pictures[name], caption=name) for name in ("beach", "kitchen", "portorosso")]
    return luca, others, luca


@pytest.fixture(scope="module")
def chosen(by_heart, tmp_path_factory) -> Path:
    """A training that nobody disturbed, of one picture, with the best step's weights."""
    folder = tmp_path_factory.mktemp("chosen")
    train(written(folder, lite_base.FOLDER, by_heart, BY_HEART, choose="best"))
    return folder


def test_what_is_learnt_by_heart_is_not_chosen(chosen, by_heart, tmp_path):
    course = read_validations(chosen / "validation.jsonl")
    assert [each.step for each in course] == [0, 4, 8, 12, 16]
    best = best_of(course)
    assert best.step < 16
    assert course[-1].loss > best.loss
    assert course[-1].learnt_loss < best.learnt_loss  # the picture itself is known ever better
    shorter = written(tmp_path, lite_base.FOLDER, by_heart, BY_HEART, steps=best.step, validate_every=0)
    train(shorter)
    ours, theirs = load_file(chosen / "lora.safetensors"), load_file(tmp_path / "lora.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)
    assert not (chosen / "best.safetensors").exists()


@pytest.mark.slow
def test_a_killed_training_chooses_the_same(chosen, by_heart, tmp_path):
    """The best step's weights come from a checkpoint, since the run is killed after it."""
    request = written(tmp_path, lite_base.FOLDER, by_heart, BY_HEART, choose="best")
    with start(request) as running:
        end_at(running, "checkpoint", 12)
    assert not (tmp_path / "lora.safetensors").exists()
    events = finish(request)
    assert min(event["step"] for event in events if event["event"] == "progress") == 13
    assert [event["step"] for event in events if event["event"] == "validation"] == [0, 4, 8, 12, 16]
    assert left_by(tmp_path) == left_by(chosen)
    assert events[-1]["step"] == best_of(read_validations(chosen / "validation.jsonl")).step < events[-1]["steps"]


def test_patience_ends_the_training_and_a_rerun_knows(chosen, by_heart, tmp_path, capsys):
    request = written(tmp_path, lite_base.FOLDER, by_heart, BY_HEART, patience=1, choose="last")
    train(request)
    best = best_of(read_validations(chosen / "validation.jsonl"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert steps[-1] == best.step + 4 < 16
    kept = left_by(tmp_path)
    assert kept["best.safetensors"] != kept["lora.safetensors"]  # the last was asked for, the best lies beside it
    best_there, best_here = load_file(chosen / "lora.safetensors"), load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(best_there[key], best_here[key]) for key in best_there)
    capsys.readouterr()
    for name in kept:
        if name.endswith(".safetensors"):
            (tmp_path / name).unlink()
    train(request)
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert "progress" not in events
    assert left_by(tmp_path) == kept


def test_validating_changes_nothing_in_what_is_learnt(base, tiny, tmp_path, capsys):
    for every in (0, 1):
        train(written(tmp_path / str(every), base, tiny, TINY, validate_every=every))
    events = Counter(json.loads(line)["event"] for line in capsys.readouterr().out.splitlines())
    assert events["validation"] == 7
    assert events["note"] == 1  # two pictures are few
    without, with_them = left_by(tmp_path / "0"), left_by(tmp_path / "1")
    assert without["loss.jsonl"] == with_them["loss.jsonl"]
    ours, theirs = (load_file(tmp_path / each / "checkpoints/step-000006/weights.safetensors") for each in "01")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)


def measured(base: Path, tiny, **changes) -> tuple[HeldOut, Adapter]:
    request = TrainRequest.model_validate_json(
        written(tiny[0][0].image.parent / "request", base, tiny, TINY, **changes).read_text()
    )
    adapter = Adapter(sd15.load(base, device="cpu"), request.settings)
    return HeldOut(adapter, request), adapter


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7, "noise_offset": 0.1, "min_snr_gamma": 0.0, "masked_prior": 0.5, "batch": 1},
        {"text_encoder_learning_rate": 0.0, "rank": 4, "caption_dropout": 0.9, "timestep_shift": 3.0},
    ],
)
def test_trainings_of_other_settings_are_measured_alike(changes, base, tiny):
    """Else no search could compare them: the base's loss is that of the pictures alone."""
    one, other = measured(base, tiny)[0], measured(base, tiny, **changes)[0]
    assert one.measure(0) == one.measure(0) == other.measure(0)


def test_the_loss_is_that_of_the_pictures_at_every_amount_of_noise(base, tiny):
    """Written out for Stable Diffusion 1.x, for one held-out picture and one that is learnt."""
    held_out, adapter = measured(base, tiny)
    for parameter in adapter.parameters(denoiser=True):
        torch.nn.init.normal_(parameter, std=0.3)
    validation = held_out.measure(3)
    model, prepared = adapter.model, held_out._scorer.prepared
    for number, ours in ((1, validation.held_out[1]), (2, validation.learnt[0])):
        seen = held_out._disturbed(number)
        latents = prepared.latents[number][None].expand_as(seen.noise)
        noisy = model.scheduler.add_noise(latents, seen.noise, seen.timesteps)
        caption = (*tiny[1], *tiny[2])[number].caption
        with torch.no_grad():
            said = model.unet(noisy, seen.timesteps, model.encode_prompts([caption] * len(noisy))["states"]).sample
        mask = prepared.masks[number]
        errors = ((said - seen.noise).square() * mask).mean(dim=(1, 2, 3)) / mask.mean()
        assert ours == pytest.approx(float(errors.mean()), rel=1e-5)
    with adapters_off(*adapter.networks.values()):
        base_loss = held_out.measure(0)
    assert base_loss != validation
    assert len(base_loss.held_out) == len(base_loss.learnt) == 2


def test_timesteps_are_spread_evenly():
    from diffusers import DDPMScheduler

    noises = spread_timesteps(Objective(DDPMScheduler()), 4)
    assert noises.dtype == torch.int64
    assert noises.tolist() == pytest.approx([125, 375, 625, 875], abs=25)
    shares = spread_timesteps(FlowMatching("uniform"), 4)
    assert shares.tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=0.025)


def test_a_stop_breaks_a_validation_off_and_nothing_is_noted(base, tiny, tmp_path, monkeypatch):
    request = TrainRequest.model_validate_json(written(tmp_path, base, tiny, TINY).read_text())
    course = Course(Adapter(sd15.load(base, device="cpu"), request.settings), request, 0, None)
    monkeypatch.setattr(child._Channel, "stop", False)  # put back after the test
    old = signal.signal(signal.SIGTERM, child._on_sigterm)
    os.kill(os.getpid(), signal.SIGTERM)
    course.validate(0)
    signal.signal(signal.SIGTERM, old)
    assert not course.validations
    assert not (tmp_path / "validation.jsonl").read_text()
    child._Channel.stop = False
    course.validate(0)
    course.validate(0)
    course.validate(1)  # not due
    assert [each.step for each in course.validations] == [0]
    assert read_validations(tmp_path / "validation.jsonl") == tuple(course.validations)


def test_checkpoints_of_a_run_with_other_pictures_held_out_are_refused(base, tiny, tmp_path):
    train(written(tmp_path, base, tiny, TINY, steps=2))
    learnt, held_out, compared = tiny
    with pytest.raises(InputFault, match="other settings, examples or base model"):
        train(written(tmp_path, base, (learnt, held_out[:1], compared), TINY, steps=2))
    shutil.rmtree(tmp_path / "checkpoints")
    train(written(tmp_path, base, (learnt, [], []), TINY, steps=2))
    assert not (tmp_path / "best.safetensors").exists()


def test_settings_that_could_not_choose_are_refused():
    for changes in ({"choose": "best"}, {"patience": 3}):
        with pytest.raises(ValidationError, match="validate_every is 0, so nothing is measured"):
            TrainSettings.model_validate({"validate_every": 0, **changes})
        lora = {"name": "luca", "type": "character", "subject": "luca", "trigger": "luca", "settings": changes}
        assert TrainLoraConfig.model_validate(lora).settings
        with pytest.raises(ValidationError, match="trainer 'kohya' validates nothing"):
            TrainLoraConfig.model_validate({**lora, "trainer": "kohya"})
    with pytest.raises(ValidationError, match="at least 1 item"):
        Validation(step=1, held_out=())
