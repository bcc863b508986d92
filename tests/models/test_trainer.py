"""The native trainer learns, and a run that was killed ends in the same bytes as one that was not."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from data_contracts.faults import InputFault
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.diffusion import sd15
from models.diffusion.lora_file import AdapterSize, load_kohya
from models.diffusion.lora_stack import adapter_parameters, adapters_off, add_fresh_adapter
from models.diffusion.objective import Objective
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS, unet_layers
from models.pictures import encode_png, read_rgb
from models.seeds import derived_seed
from models.trainers.checkpoint import LossLog
from models.trainers.examples import Prepared, draw, prepare
from models.trainers.native import train
from models.trainers.step import Adapter, Trainer
from tests.killed import end_at
from tests.random_base import make_random_base

ROOT = Path(__file__).parents[2]
STEPS = 20
OBJECTIVE = Objective(DDPMScheduler())
SETTINGS = {
    "rank": 4,
    "alpha": 4.0,
    "conv_rank": 2,
    "learning_rate": 1e-3,
    "text_encoder_learning_rate": 1e-3,
    "steps": STEPS,
    "batch": 2,
    "resolution": 64,
    "warmup_steps": 2,
    "caption_dropout": 0.3,
    "masked_loss": True,
    "checkpoint_every": 4,
    "sample_every": 10,
    "sample_prompts": ["{trigger} in a harbour"],
    "sample_steps": 2,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base", seed=0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list[TrainExample]:
    """Three pictures of a coloured block on noise, and its masks."""
    folder = tmp_path_factory.mktemp("examples")
    made = []
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        mask = np.zeros((80, 100), np.uint8)
        mask[20:60, 30 + 5 * number : 60] = 255
        picture[mask > 0] = (200, 40 * number, 60)
        paths = folder / f"{number}.png", folder / f"{number}-mask.png"
        for path, array in zip(paths, (picture, mask), strict=True):
            path.write_bytes(encode_png(array))
        made.append(TrainExample(image=paths[0], mask=paths[1], caption=f"luca, view {number}", repeats=1 + number))
    return made


def write_request(output: Path, base: Path, examples: list[TrainExample], **changes) -> Path:
    request = TrainRequest(
        name="luca",
        trigger="luca",
        base=base,
        examples=tuple(examples),
        output=output,
        settings=TrainSettings.model_validate({**SETTINGS, **changes}),
        metadata={"dataset": "abc"},
        threads=1,
    )
    output.mkdir(parents=True, exist_ok=True)
    path = output / "request.json"
    path.write_text(request.model_dump_json())
    return path


def start(request: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "models.trainers.native", str(request)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(request: Path) -> list[dict[str, object]]:
    with redirect_stdout(StringIO()) as out:
        train(request)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[-1]["event"] == "done"
    return events


def results(folder: Path) -> dict[str, bytes]:
    """Return what a run leaves, by name; checkpoints by their weights."""
    kept = [*folder.glob("*.safetensors"), *folder.glob("samples/*"), *folder.glob("loss.jsonl")]
    kept += folder.glob("checkpoints/*/weights.safetensors")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def uninterrupted(base: Path, examples, tmp_path_factory) -> tuple[Path, list[dict[str, object]]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, finish(write_request(folder, base, examples))


def test_a_run_reports_and_leaves_what_it_should(uninterrupted):
    folder, events = uninterrupted
    assert Counter(event["event"] for event in events) == {"progress": STEPS, "sample": 2, "checkpoint": 5, "done": 1}
    assert sorted(results(folder)) == [
        "checkpoints/step-000016/weights.safetensors",
        "checkpoints/step-000020/weights.safetensors",
        "lora.safetensors",
        "loss.jsonl",
        "samples/step-000010-0.png",
        "samples/step-000020-0.png",
    ]
    losses = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in losses] == list(range(1, STEPS + 1))
    assert events[-1]["final_loss"] == pytest.approx((losses[-1]["loss"] + losses[-2]["loss"]) / 2)
    assert read_rgb(folder / "samples/step-000010-0.png").shape == (64, 64, 3)
    assert not list(folder.rglob("*.part"))


def test_the_file_says_what_it_is(uninterrupted):
    weights = load_kohya(uninterrupted[0] / "lora.safetensors")
    assert {module.rank for module in weights.text_encoder.values()} == {4}
    assert {module.rank for module in weights.unet.values()} == {4, 2}
    assert any(bool(module.up.any()) for module in weights.unet.values())
    assert any(bool(module.up.any()) for module in weights.text_encoder.values())
    metadata = weights.metadata
    assert (metadata["ss_network_dim"], metadata["ss_network_module"]) == ("4", "networks.lora")
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": "2", "conv_alpha": "1.0"}
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert (metadata["reel2lora.dataset"], metadata["reel2lora.trigger"]) == ("abc", "luca")
    assert json.loads(metadata["reel2lora.settings"])["steps"] == STEPS


@pytest.mark.parametrize(
    ("how", "last"),
    [
        (signal.SIGKILL, None),
        (signal.SIGTERM, STEPS // 2),
        pytest.param(signal.SIGTERM, None, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_ended_goes_on_to_the_same_bytes(how, last, uninterrupted, base, examples, tmp_path: Path):
    """Wherever a run is ended, it must go on: also between step 10 and the sample picture that is due."""
    last = last or random.randint(1, STEPS // 2 - 1)
    request = write_request(tmp_path, base, examples)
    with start(request) as child:
        end_at(child, "progress", last, how)
    if how == signal.SIGTERM:
        assert len((tmp_path / "loss.jsonl").read_text().splitlines()) >= last
        assert list(tmp_path.glob("checkpoints/step-*"))
    assert not (tmp_path / "lora.safetensors").exists()
    saved = max((int(path.name[5:]) for path in tmp_path.glob("checkpoints/step-??????")), default=0)
    resumed = [event["step"] for event in finish(request) if event["event"] == "progress"]
    assert resumed == list(range(saved + 1, STEPS + 1))
    ours, theirs = results(tmp_path), results(uninterrupted[0])
    ours, theirs = ({name: data for name, data in each.items() if "checkpoints" not in name} for each in (ours, theirs))
    assert ours == theirs, f"ended by {how.name} after step {last}"


def test_a_finished_run_repeats_only_its_answer(uninterrupted, tmp_path: Path, capsys):
    shutil.copytree(uninterrupted[0], tmp_path / "run")
    request = json.loads((tmp_path / "run/request.json").read_text())
    (tmp_path / "run/request.json").write_text(json.dumps({**request, "output": str(tmp_path / "run")}))
    (tmp_path / "run/lora.safetensors").unlink()
    train(tmp_path / "run/request.json")
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["done"]
    assert results(tmp_path / "run") == results(uninterrupted[0])


def test_checkpoints_of_another_run_are_refused(uninterrupted, base, examples, tmp_path: Path):
    shutil.copytree(uninterrupted[0] / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(InputFault, match="other settings, examples or base model"):
        train(write_request(tmp_path, base, examples, learning_rate=2e-3))


def test_a_loss_that_is_no_number_names_the_step_and_the_picture(base, examples, tmp_path: Path):
    broken = shutil.copytree(base, tmp_path / "base")
    path = broken / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_in.bias"][0] = torch.nan
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(FloatingPointError, match=r"loss nan at step 1 on .*\d\.png"):
        train(write_request(tmp_path / "run", broken, examples))


def test_three_steps_are_those_of_the_plain_recipe_to_the_bit(base, examples, tmp_path: Path):
    """What the trainer is, written out for Stable Diffusion 1.x alone: whatever else it can, this it must stay."""
    changes = {"steps": 3, "masked_prior": 0.0, "sample_every": 0, "accumulate": 1}
    train(write_request(tmp_path, base, examples, **changes))
    config = TrainSettings.model_validate({**SETTINGS, **changes})
    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    noises = DDPMScheduler.from_config(pipeline.scheduler.config)
    networks = (
        pipeline.unet.requires_grad_(requires_grad=False),
        pipeline.text_encoder.requires_grad_(requires_grad=False),
    )
    torch.manual_seed(derived_seed(config.seed, "adapter"))
    add_fresh_adapter(networks[0], unet_layers(AdapterSize(4, 4.0, 2, 1.0)), "plain", AdapterSize(4, 4.0, 2, 1.0))
    add_fresh_adapter(networks[1], TEXT_ENCODER_LAYERS, "plain", AdapterSize(4, 4.0))
    trained = [list(adapter_parameters(network, "plain").values()) for network in networks]
    optimizer = torch.optim.AdamW([{"params": each} for each in trained], lr=1e-3, weight_decay=0.01, fused=True)
    data = prepare(sd15.load(base, device="cpu"), examples, config)
    for number, factor in enumerate((1 / 3, 2 / 3, 1)):  # two steps of warm-up, then the cosine's peak
        seen = draw(data, config, number, OBJECTIVE)
        noise, latents = seen.noise + 0.05 * seen.offsets, data.latents_of(seen.indices)
        tokens = pipeline.tokenizer(seen.captions, padding="max_length", return_tensors="pt").input_ids
        noisy = noises.add_noise(latents, noise, seen.timesteps)
        said = networks[0](noisy, seen.timesteps, networks[1](tokens)[0]).sample
        mask = data.masks_of(seen.indices)
        errors = ((said - noise).square() * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3))
        snr = noises.alphas_cumprod[seen.timesteps] / (1 - noises.alphas_cumprod[seen.timesteps])
        (errors * (snr.clamp(max=5) / snr)).mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * factor
        torch.nn.utils.clip_grad_norm_(trained[0] + trained[1], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    ours = load_file(tmp_path / "checkpoints/step-000003/weights.safetensors")
    plain = {
        f"{key}/{name.replace('.plain.', '.trained.')}": value
        for key, network in zip(("unet", "text_encoder"), networks, strict=True)
        for name, value in adapter_parameters(network, "plain").items()
    }
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[key], plain[key]) for key in ours)


@pytest.fixture(scope="module")
def prepared(base, examples) -> Prepared:
    return prepare(sd15.load(base, device="cpu"), examples, TrainSettings.model_validate(SETTINGS))


@pytest.mark.parametrize(
    ("changes", "captions_kept"),
    [
        ({"text_encoder_learning_rate": 0.0}, True),
        ({"text_encoder_learning_rate": 0.0, "masked_prior": 0.0}, True),
        ({"precision": "bfloat16"}, True),
        ({"accumulate": 2, "masked_prior": 0.0}, False),
    ],
)
def test_training_lowers_the_loss(changes, captions_kept, base, prepared: Prepared):
    chosen = {**SETTINGS, "learning_rate": 1e-2, "steps": 12, **changes, "gradient_checkpointing": True}
    config = TrainSettings.model_validate(chosen)
    trainer = Trainer(Adapter(sd15.load(base, config.precision, device="cpu"), config), prepared, config)

    def test_loss() -> float:
        with torch.no_grad():
            return sum(float(trainer._losses(number, 0).mean()) for number in range(1000, 1006)) / 6

    before = test_loss()
    for number in range(config.steps):
        trainer.step(number)
    assert test_loss() < 0.97 * before
    assert (trainer._readings is not None) == captions_kept


def test_what_lies_outside_the_masks_stays_as_the_base_model_draws_it(base, prepared: Prepared):
    def moved(masked_prior: float) -> tuple[float, float]:
        """Train, and return how far the adapter moves predictions inside the masks, and outside."""
        chosen = {**SETTINGS, "learning_rate": 1e-2, "steps": 30, "masked_prior": masked_prior}
        config = TrainSettings.model_validate(chosen)
        trainer = Trainer(Adapter(sd15.load(base, device="cpu"), config), prepared, config)
        for number in range(config.steps):
            trainer.step(number)
        model = trainer.adapter.model
        inside = prepared.masks_of(range(3))
        assert inside is not None
        noisy, timesteps = torch.randn(prepared.latents_of(range(3)).shape), torch.tensor([900] * 3)
        captions = [example.caption for example in prepared.examples]
        with torch.no_grad():
            changed = model.unet(noisy, timesteps, model.encode_prompts(captions)["states"]).sample
            with adapters_off(model.unet, model.text_encoder):
                plain = model.unet(noisy, timesteps, model.encode_prompts(captions)["states"]).sample
        assert not torch.equal(changed, plain)
        change = (changed - plain).square()
        return float((change * inside).sum() / inside.sum()), float((change * (1 - inside)).sum() / (1 - inside).sum())

    torch.manual_seed(0)
    inside, outside = moved(1.0)
    _, free_outside = moved(0.0)
    assert outside < 0.5 * inside
    assert outside < 0.5 * free_outside


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), batch=st.integers(1, 5), first=st.integers(0, 50))
def test_draws_depend_on_the_position_alone(prepared: Prepared, seed: int, batch: int, first: int):
    one = TrainSettings.model_validate({**SETTINGS, "seed": seed, "batch": 1})
    many = one.model_copy(update={"batch": batch})
    together = draw(prepared, many, first, OBJECTIVE)
    apart = [draw(prepared, one, first * batch + place, OBJECTIVE) for place in range(batch)]
    assert together.indices == [single.indices[0] for single in apart]
    assert together.captions == [single.captions[0] for single in apart]
    assert torch.equal(together.noise, torch.cat([single.noise for single in apart]))
    assert torch.equal(together.timesteps, torch.cat([single.timesteps for single in apart]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), passes=st.integers(0, 5))
def test_a_pass_shows_each_example_as_often_as_its_repeats(prepared: Prepared, seed: int, passes: int):
    config = TrainSettings.model_validate({**SETTINGS, "seed": seed, "batch": 6})
    assert Counter(draw(prepared, config, passes, OBJECTIVE).indices) == {0: 1, 1: 2, 2: 3}


def test_masks_and_pictures_are_checked_before_training(base, examples, tmp_path: Path):
    model, config = sd15.load(base, device="cpu"), TrainSettings.model_validate(SETTINGS)
    empty, small = tmp_path / "empty.png", tmp_path / "small.png"
    empty.write_bytes(encode_png(np.zeros((80, 100), np.uint8)))
    small.write_bytes(encode_png(np.full((8, 8), 255, np.uint8)))
    for change, message in (
        ({"mask": empty}, "shows nothing in the centre of 64x64 pixels"),
        ({"mask": small}, "must be equal"),
        ({"mask": tmp_path / "none.png"}, "not a picture"),
        ({"image": tmp_path / "none.png"}, r"example .*none\.png"),
    ):
        with pytest.raises(InputFault, match=message):
            prepare(model, [examples[0].model_copy(update=change)], config)


def test_latents_and_masks_have_the_same_places(prepared: Prepared):
    assert prepared.latents_of(range(3)).shape == (3, 4, 8, 8)
    assert prepared.masks is not None
    # columns 30..60 of 100 are 20..50 of the centre square's 80, and so 2..5 of the latents' 8
    assert prepared.masks[0][0, 4].tolist() == pytest.approx([0, 0, 1, 1, 1, 0, 0, 0], abs=0.01)


def test_the_loss_log_forgets_what_came_after_the_checkpoint(tmp_path: Path):
    path = tmp_path / "loss.jsonl"
    log = LossLog(path, 0)
    for step in range(1, 6):
        log.append(step, 1 / step, 1e-4)
    path.write_text(path.read_text() + '{"step": 6, "lo')
    assert [entry["step"] for entry in LossLog(path, 3).entries()] == [1, 2, 3]
    assert not LossLog(path, 0).path.read_text()


def test_settings_that_make_no_sense_are_refused(tmp_path: Path):
    with pytest.raises(ValidationError, match="warmup_steps is 30, but there are only 20 steps"):
        TrainSettings.model_validate({**SETTINGS, "warmup_steps": 30})
    with pytest.raises(ValidationError, match="sample_prompts is empty"):
        TrainSettings.model_validate({**SETTINGS, "sample_prompts": []})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        TrainSettings.model_validate({**SETTINGS, "conv_dim": 8})
    example = {"image": tmp_path / "a.png", "caption": "a"}
    run = {"name": "a", "base": tmp_path, "output": tmp_path, "examples": [example], "settings": SETTINGS}
    with pytest.raises(ValidationError, match=r"a\.png has no mask"):
        TrainRequest.model_validate(run)


def test_an_incomplete_request_is_refused(tmp_path: Path):
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(ValidationError, match="examples"):
        train(tmp_path / "request.json")
    assert [path.name for path in tmp_path.iterdir()] == ["request.json"]
