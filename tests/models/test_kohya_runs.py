"""kohya's trainer with sd-scripts themselves: a small U-Net trains, is killed and goes on; what goes wrong is said.

Skipped where the submodule is empty or its environment was not made (`reel2lora doctor --setup kohya`).
"""

import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data_contracts.faults import InputFault, StageFault
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.buckets import buckets, nearest_bucket
from models.diffusion.lora_file import load_kohya
from models.pictures import encode_png, read_rgb
from models.trainers import TRAINERS, kohya_home
from models.trainers import kohya as trainer
from models.trainers.checkpoint import LossLog
from models.weights import MissingWeights
from tests.tiny_kohya import small_base, small_checkout

ROOT = Path(__file__).parents[2]
STEPS, WARM, EVERY, PEAK = 12, 2, 4, 1e-3
SETTINGS = {
    "rank": 4,
    "alpha": 4.0,
    "conv_rank": 2,
    "learning_rate": PEAK,
    "text_encoder_learning_rate": PEAK,
    "steps": STEPS,
    "batch": 2,
    "accumulate": 2,
    "resolution": 64,
    "warmup_steps": WARM,
    "masked_loss": True,
    "masked_prior": 0.0,
    "checkpoint_every": EVERY,
    "sample_every": 6,
    "sample_prompts": ["{trigger} in a harbour"],
    "sample_steps": 2,
}


@pytest.fixture(scope="module", autouse=True)
def small_sd_scripts(tmp_path_factory):
    """Let sd-scripts be those whose U-Net is small."""
    try:
        TRAINERS.load("kohya")
    except MissingWeights as missing:
        pytest.skip(str(missing))
    folder = small_checkout(kohya_home.Checkout().path(), tmp_path_factory.mktemp("sd-scripts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kohya_home.CHECKOUT_VARIABLE, str(folder))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return small_base(tmp_path_factory.mktemp("small") / "base")


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> tuple[TrainExample, ...]:
    """Eight pictures of a coloured block on noise, and its masks."""
    folder = tmp_path_factory.mktemp("examples")
    made = []
    for number in range(8):
        picture = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        mask[16:48, 2 * number : 40] = 255
        picture[mask > 0] = (200, 30 * number, 60)
        paths = folder / f"{number}.png", folder / f"{number}-mask.png"
        for path, array in zip(paths, (picture, mask), strict=True):
            path.write_bytes(encode_png(array))
        caption = f"luca, view {number}"
        made.append(TrainExample(image=paths[0], mask=paths[1], caption=caption, repeats=1 + number % 2))
    return tuple(made)


def asked(base: Path, examples: tuple[TrainExample, ...], output: Path, **changes: object) -> TrainRequest:
    values = TrainSettings.model_validate({**SETTINGS, **changes})
    return TrainRequest(
        name="luca", trigger="luca", base=base, examples=examples, output=output, settings=values, threads=1
    )


def start(module: str, request: TrainRequest) -> subprocess.Popen[str]:
    request.output.mkdir(parents=True, exist_ok=True)
    path = request.output / "request.json"
    path.write_text(request.model_dump_json())
    command = [sys.executable, "-m", module, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(module: str, request: TrainRequest) -> list[dict[str, object]]:
    out, err = start(module, request).communicate(timeout=200)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event for event in events if event["event"] == "done"], err
    return events


def rate(step: int) -> float:
    """Return the learning rate after `step` optimizer steps, of one run that nothing interrupted."""
    if step < WARM:
        return PEAK * step / WARM
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM)))


def test_captions_in_parts_and_an_earlier_layer_are_taken(base, examples, tmp_path):
    caption = "luca, " + ", ".join(["a boat by the sea"] * 20)
    request = asked(base, (examples[0].model_copy(update={"caption": caption}), *examples[1:]), tmp_path, clip_skip=2)
    finish("models.trainers.kohya", request)
    metadata = load_kohya(tmp_path / "lora.safetensors").metadata
    assert (metadata["ss_clip_skip"], metadata["ss_max_token_length"]) == ("2", "150")


def test_a_run_that_was_killed_goes_on_and_its_lora_is_ours(base, examples, tmp_path):
    request = asked(base, examples, tmp_path / "kohya")
    with start("models.trainers.kohya", request) as child:
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["step"] == EVERY + 3:
                child.send_signal(signal.SIGKILL)
                break
        child.communicate(timeout=60)
    assert not (request.output / "lora.safetensors").exists()
    events = finish("models.trainers.kohya", request)
    told = [event["step"] for event in events if event["event"] == "progress"]
    assert told == list(range(EVERY + 1, STEPS + 1))
    losses = [json.loads(line) for line in (request.output / "loss.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in losses] == list(range(1, STEPS + 1))
    assert [entry["learning_rate"] for entry in losses] == pytest.approx(
        [rate(n) for n in range(1, STEPS + 1)], abs=1e-9
    )
    assert {path.name for path in (request.output / "samples").iterdir()} == {
        "step-000006-0.png",
        "step-000012-0.png",
    }
    assert read_rgb(request.output / "samples" / "step-000012-0.png").shape == (64, 64, 3)
    lora = load_kohya(request.output / "lora.safetensors")
    assert any(bool(module.up.any()) for module in lora.unet.values())
    assert any(bool(module.up.any()) for module in lora.text_encoder.values())
    assert lora.metadata["ss_network_dim"] == "4"
    assert lora.metadata["reel2lora.trainer"].endswith(kohya_home.COMMIT)
    assert [event["event"] for event in finish("models.trainers.kohya", request)] == ["done"]
    own = asked(base, examples, tmp_path / "native", steps=1, warmup_steps=0, sample_every=0)
    finish("models.trainers.native", own)
    shapes = [
        {key: tuple(value.shape) for key, value in load_file(each.output / "lora.safetensors").items()}
        for each in (request, own)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("resolution", "told"), [(256, r"resolution \((\d+), (\d+)\), count: (\d+)"), (64, "")])
def test_pictures_of_several_shapes_are_trained_uncut(resolution, told, base, tmp_path):
    """In sd-scripts' own buckets where these sides are multiples of 64, else in a data set for each size."""
    sizes = {(90, 150): 3, (150, 90): 1, (100, 100): 2}
    examples = []
    for number, (size, repeats) in enumerate(sizes.items()):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode_png(np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)))
        examples.append(TrainExample(image=path, caption=f"luca, view {number}", repeats=repeats))
    changes = {"masked_loss": False, "warmup_steps": 0, "sample_every": 0, "conv_rank": 0, "accumulate": 1, "batch": 2}
    request = asked(base, tuple(examples), tmp_path / "run", **changes, resolution=resolution, buckets=True, steps=4)
    finish("models.trainers.kohya", request)
    losses = [json.loads(line)["loss"] for line in (request.output / "loss.jsonl").read_text().splitlines()]
    assert len(losses) == request.settings.steps
    assert all(map(math.isfinite, losses))
    assert not list(tmp_path.rglob("*.npz"))
    log = (request.output / "kohya" / "log.txt").read_text(encoding="utf-8")
    passes = -(-2 * request.settings.steps // sum(sizes.values()))
    wanted = {nearest_bucket(*size, buckets(resolution)): passes * repeats for size, repeats in sizes.items()}
    if told:
        found = {(int(one), int(other)): int(count) for one, other, count in re.findall(told, log)}
        assert found == wanted
        assert re.findall(r"mean ar error \(without repeats\): ([\d.]+)", log) == ["0.0"]
    else:
        named = re.findall(r"\[Dataset \d+\]\s+batch_size: 2\s+resolution: \((\d+), (\d+)\)", log)
        assert {(int(one), int(other)) for one, other in named} == set(wanted)


def run(request: TrainRequest, damage) -> None:
    """Train after something went wrong between what is written and what is read."""
    prepared = trainer.Run(request)
    log = LossLog(request.output / "loss.jsonl", 0)
    options = prepared.prepare(log)
    damage(prepared.places)
    prepared.train(options, log)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("*.txt", "pictures have no caption"), ("*.png", "found no pictures")],
)
def test_missing_captions_and_pictures_end_a_run(pattern, says, base, examples, tmp_path):
    def damage(places):
        for path in places.dataset.rglob(pattern):
            if path.name != "README.txt":
                path.unlink()

    with pytest.raises(InputFault, match=says):
        run(asked(base, examples, tmp_path), damage)


def test_an_option_that_sd_scripts_do_not_know_ends_a_run_before_it_begins(base, examples, tmp_path):
    def damage(places):
        with (places.root / "config.toml").open("a") as file:
            file.write("network_dims = 4\nlearning_rat = 1\n")

    with pytest.raises(InputFault, match="know no option 'network_dims'; sd-scripts know no option 'learning_rat'"):
        run(asked(base, examples, tmp_path), damage)


def test_a_key_that_their_data_set_does_not_know_ends_a_run(base, examples, tmp_path):
    def damage(places):
        toml = places.dataset / "dataset.toml"
        toml.write_text(toml.read_text().replace("flip_aug", "flip_augs"))

    with pytest.raises(InputFault, match="extra keys not allowed"):
        run(asked(base, examples, tmp_path), damage)


def test_a_loss_that_is_no_number_ends_a_run(base, examples, tmp_path):
    def damage(places):
        file = places.root / "base" / "unet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(file)
        file.unlink()  # a link to the base model's own
        weights["conv_out.bias"] = torch.full_like(weights["conv_out.bias"], math.nan)
        save_file(weights, file)

    with pytest.raises(FloatingPointError, match="loss nan at step"):
        run(asked(base, examples, tmp_path, sample_every=0), damage)


def test_a_text_encoder_of_other_names_is_not_trained_from_random_weights(base, examples, tmp_path):
    def damage(places):
        file = places.root / "base" / "text_encoder" / "model.safetensors"
        weights = load_file(file)
        save_file({key.removeprefix("text_model."): value for key, value in weights.items()}, file, {"format": "pt"})

    with pytest.raises(StageFault, match="no weights under the names that CLIPTextModel has"):
        run(asked(base, examples, tmp_path), damage)


def test_a_u_net_of_another_size_is_refused(base, examples, tmp_path):
    def damage(places):
        file = places.root / "base" / "unet" / "config.json"
        text = file.read_text().replace("32", "320")
        file.unlink()
        file.write_text(text)

    with pytest.raises(InputFault, match="U-Net has block_out_channels"):
        run(asked(base, examples, tmp_path), damage)
