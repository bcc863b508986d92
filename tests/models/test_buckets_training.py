"""Training on pictures of several shapes: nothing is cut to squares, and a killed run ends in the same bytes."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.training import TrainExample, TrainSettings
from models.diffusion import load_base, sd15, sdxl
from models.diffusion.families import DiffusionModel
from models.pictures import encode_png
from models.trainers.examples import covering, draw, prepare
from tests.killed import end_at
from tests.models.family_runs import SETTINGS, as_killed_after_the_first_checkpoint, left_by, train_in
from tests.random_base import make_random_base
from tests.random_flux import make_random_flux
from tests.random_qwen_image import make_random_qwen_image_edit
from tests.random_sdxl import make_random_sdxl

ROOT = Path(__file__).parents[2]
TALL, SQUARE, WIDE = (60, 100), (90, 80), (200, 120)
LATENTS = {TALL: (4, 10, 6), SQUARE: (4, 8, 8), WIDE: (4, 6, 10)}
"""Of pictures of these widths and heights at a resolution of 64 pixels, whose buckets are 48x80 to 80x48."""
BUCKETED = TrainSettings.model_validate({**SETTINGS, "buckets": True, "batch": 2})


def example(folder: Path, number: int, size: tuple[int, int], **more: object) -> TrainExample:
    """Write a picture of this width and height, a block in its lower third, and its mask."""
    width, height = size
    picture = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[2 * height // 3 :, width // 4 : 3 * width // 4] = 255
    picture[mask > 0] = (200, 30 * number, 60)
    paths = folder / f"{number}.png", folder / f"{number}-mask.png"
    for path, array in zip(paths, (picture, mask), strict=True):
        path.write_bytes(encode_png(array))
    return TrainExample(image=paths[0], mask=paths[1], caption=f"luca, view {number}", **more)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list[TrainExample]:
    """Two tall pictures, one nearly square, three wide ones."""
    folder = tmp_path_factory.mktemp("examples")
    sizes = (TALL, SQUARE, WIDE, WIDE, TALL, WIDE)
    return [example(folder, number, size, repeats=1 + number % 2) for number, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base: Path) -> DiffusionModel:
    return sd15.load(base, device="cpu")


def test_batches_are_of_one_shape_and_everything_has_its_turn(model, examples):
    prepared = prepare(model, examples, BUCKETED)
    shapes = [LATENTS[size] for size in (TALL, SQUARE, WIDE, WIDE, TALL, WIDE)]
    assert [tuple(latents.shape) for latents in prepared.latents] == shapes
    assert [tuple(mask.shape) for mask in prepared.masks] == [(1, *shape[1:]) for shape in shapes]
    total = sum(each.repeats for each in examples)
    drawn = [draw(prepared, BUCKETED, number, model.objective(BUCKETED)) for number in range(total)]
    for batch in drawn:
        assert batch.noise.shape == prepared.latents_of(batch.indices).shape
        assert batch.noise.shape[0] == len(batch.timesteps) == len(batch.captions) == 2
    shown = Counter(index for batch in drawn for index in batch.indices)
    assert shown == {index: 2 * each.repeats for index, each in enumerate(examples)}


def test_masks_keep_to_their_pictures(model, examples):
    """The lower third of the tall picture is seen, as all of it; of the centre square it would be the lower tenth."""
    mask = prepare(model, [examples[0]], BUCKETED).masks[0][0]  # (10, 6)
    assert mask[:6].max() == 0
    assert mask[7:, 2:4].min() == 1
    square = prepare(model, [examples[0]], BUCKETED.model_copy(update={"buckets": False})).masks[0][0]
    assert square[:6].max() == 0
    assert square[7:, 3:5].min() > 0.5
    assert square.shape == (8, 8)


def test_what_is_seen_of_a_picture_is_its_centre_as_large_as_it_can_be():
    rows, columns = np.mgrid[:100, :60]
    picture = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(covering(picture, (60, 60)), picture[20:80])
    np.testing.assert_array_equal(covering(picture, (60, 100)), picture)
    np.testing.assert_array_equal(covering(picture, (40, 100)), picture[:, 10:50])
    half = covering(picture, (30, 50))
    assert half.shape == (50, 30, 3)
    assert np.abs(half[:, :, 0].astype(float) - 2 * np.arange(50)[:, None]).max() <= 1


def test_a_tall_picture_tells_sdxl_its_size_its_crop_and_what_is_seen(tmp_path: Path):
    model = sdxl.load(make_random_sdxl(tmp_path / "sdxl"), device="cpu")
    tall, wide = example(tmp_path, 0, (60, 120)), example(tmp_path, 1, (120, 60))
    prepared = prepare(model, [tall, wide], BUCKETED)
    # 60x120 scaled to cover 48x80 is 48x96: 8 rows above are not seen
    assert prepared.described[0]["time_ids"].tolist() == [[120, 60, 8, 0, 80, 48]]
    assert prepared.described[1]["time_ids"].tolist() == [[60, 120, 0, 8, 48, 80]]
    square = prepare(model, [tall], BUCKETED.model_copy(update={"buckets": False}))
    assert square.described[0]["time_ids"].tolist() == [[120, 60, 32, 0, 64, 64]]


RUN = {"buckets": True, "batch": 2, "accumulate": 2, "steps": 9, "checkpoint_every": 3, "sample_every": 0}


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(base: Path, examples, tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_in(whole, base, examples, **RUN)
    request = json.loads((whole / "request.json").read_text())
    killed.mkdir()
    (killed / "request.json").write_text(json.dumps({**request, "output": str(killed)}))
    command = [sys.executable, "-m", "models.trainers.native", str(killed / "request.json")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        end_at(child, "progress", 5)
    assert not (killed / "lora.safetensors").exists()
    train_in(killed, base, examples, **RUN)
    assert left_by(killed) == left_by(whole)


@pytest.mark.parametrize("make", [make_random_flux, make_random_qwen_image_edit])
def test_transformers_learn_from_several_shapes_too(make, tmp_path: Path):
    base = make(tmp_path / "base")
    sizes = (TALL, WIDE)
    pictures = [example(tmp_path, number, size) for number, size in enumerate(sizes)]
    if load_base(base, device="cpu").edits:
        pictures = [each.model_copy(update={"control": example(tmp_path, 7, TALL).image}) for each in pictures]
    changes = {"buckets": True, "resolution": 128}
    train_in(tmp_path / "run", base, pictures, **changes)
    copy = as_killed_after_the_first_checkpoint(tmp_path / "run", tmp_path / "copy")
    train_in(copy, base, pictures, **changes)
    assert left_by(copy) == left_by(tmp_path / "run")
    log = (tmp_path / "run" / "loss.jsonl").read_text().splitlines()
    assert all(torch.isfinite(torch.tensor(json.loads(line)["loss"])) for line in log)
