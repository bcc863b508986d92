"""What validations draw is measured, kept and the same after a kill; what cannot be measured is absent."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_contracts.faults import InputFault
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.training import DrawnPrompt, DrawRequest, TrainExample, TrainRequest, TrainSettings
from data_contracts.validations import read_validations
from models.diffusion import sd15
from models.pictures import encode_png, read_rgb
from models.trainers.choice import best_of
from models.trainers.drawn import Drawings
from models.trainers.native import train
from tests.models.family_runs import tiny_examples
from tests.models.test_held_out import TINY
from tests.random_base import make_random_base

DRAWN = {**TINY, "steps": 4, "checkpoint_every": 2, "sample_steps": 2, "validate_drawn": 3, "drawn_embedder": "colour"}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-drawn", seed=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[TrainExample]:
    return tiny_examples(tmp_path_factory.mktemp("pictures"), 7)


def asked(output: Path, base: Path, pictures: list[TrainExample], held_out: int = 5, **changes: object) -> TrainRequest:
    """Return a request that learns from two pictures, and compares what it draws with others."""
    prompts = tuple(DrawnPrompt(caption=f"luca, view {n}", plain=f"a character, view {n}") for n in range(3))
    return TrainRequest(
        name="luca",
        base=base,
        examples=tuple(pictures[:2]),
        held_out=tuple(pictures[2:4]),
        drawing=DrawRequest(prompts=prompts, references=tuple(pictures[2 : 2 + held_out])),
        output=output,
        settings=TrainSettings.model_validate({**DRAWN, **changes}),
        threads=1,
    )


def run(request: TrainRequest) -> dict[str, bytes]:
    """Train in this process, and return what is left."""
    request.output.mkdir(parents=True, exist_ok=True)
    (request.output / "request.json").write_text(request.model_dump_json())
    train(request.output / "request.json")
    names = ("lora.safetensors", "loss.jsonl", "validation.jsonl", "drawn/*.png")
    kept = [path for name in names for path in request.output.glob(name)]
    return {path.relative_to(request.output).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def undisturbed(base, pictures, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, run(asked(folder, base, pictures, choose="likeness"))


def test_each_validation_draws_and_measures_what_can_be(undisturbed, capsys):
    folder, left = undisturbed
    course = read_validations(folder / "validation.jsonl")
    assert [each.step for each in course] == [0, 2, 4]
    assert sorted(name for name in left if name.startswith("drawn")) == [
        f"drawn/step-{step:06}-{number:02}.png" for step in (0, 2, 4) for number in range(3)
    ]
    for each in course:
        assert each.drawn.pictures == len(each.drawn.likeness) == len(each.drawn.copying) == 3
        assert all(0 < value < 1 for value in each.drawn.likeness)
        assert 1 <= each.drawn.diversity <= 3
        assert each.drawn.text == ()  # no text scorer is named
        assert each.drawn.mean_text is None


def test_a_killed_training_draws_and_chooses_the_same(undisturbed, base, pictures, tmp_path):
    """Killed after step 2 was saved, with pictures of a later step, half of its validation, left behind."""
    folder, left = undisturbed
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/step-000004")
    (tmp_path / "run/lora.safetensors").unlink()
    (tmp_path / "run/drawn/step-000004-00.png").write_bytes(b"of other weights")
    (tmp_path / "run/drawn/step-000004-02.png").unlink()
    assert run(asked(tmp_path / "run", base, pictures, choose="likeness")) == left


def test_drawing_changes_nothing_in_what_is_learnt(undisturbed, base, pictures, tmp_path):
    request = asked(tmp_path, base, pictures, validate_drawn=0).model_copy(update={"drawing": None})
    left = run(request)
    assert left["loss.jsonl"] == undisturbed[1]["loss.jsonl"]
    drawn, plain = (read_validations(each / "validation.jsonl") for each in (undisturbed[0], tmp_path))
    assert [each.held_out for each in drawn] == [each.held_out for each in plain]
    assert not any(each.drawn for each in plain)


def test_the_chosen_weights_are_those_of_the_step_that_draws_best(undisturbed):
    folder, _ = undisturbed
    best = best_of(read_validations(folder / "validation.jsonl"), "likeness").step
    kept = json.loads((folder / "checkpoints/step-000004/state.json").read_text())
    assert kept["step"] == 4
    assert (folder / "checkpoints/step-000004/best.safetensors").is_file() == (best != 4)
    assert not (folder / "best.safetensors").exists()


def test_other_pictures_to_compare_with_are_another_training(undisturbed, base, pictures, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "run")
    for changed in ({"held_out": 4}, {"sample_steps": 3}):
        with pytest.raises(InputFault, match="other settings, examples or base model"):
            run(asked(tmp_path / "run", base, pictures, choose="likeness", **changed))


def test_a_learnt_picture_is_a_copy_and_a_held_out_one_is_alike(base, pictures, tmp_path):
    request = asked(tmp_path, base, pictures)
    drawings = Drawings(sd15.load(base, device="cpu"), request, request.drawing)
    copy, alike = read_rgb(pictures[1].image), read_rgb(pictures[6].image)
    strange = np.random.default_rng(0).integers(0, 99, copy.shape, dtype=np.uint8)
    found = drawings._measured([copy, alike, strange])
    assert [each.is_copy for each in found.copying] == [True, False, False]
    assert found.copying[0].nearest == "1.png"
    assert found.copies == 1
    assert found.likeness[1] > found.likeness[2]


def test_too_little_held_out_or_no_embedder_leaves_measures_out(base, pictures, tmp_path):
    request = asked(tmp_path, base, pictures, held_out=4, drawn_embedder=None)
    found = Drawings(sd15.load(base, device="cpu"), request, request.drawing).measure(0)
    assert found.model_dump() == {"pictures": 3, "likeness": (), "text": (), "copying": (), "diversity": None}
    assert found.copies is found.mean_likeness is None


def test_what_a_mask_leaves_out_of_a_held_out_picture_does_not_count(base, pictures, tmp_path):
    request = asked(tmp_path, base, pictures)
    painted = []
    for number, each in enumerate(request.drawing.references):
        picture, mask = read_rgb(each.image), read_rgb(each.mask)[..., 0]
        picture[mask == 0] = (9, 200, 9)
        painted.append(each.model_copy(update={"image": tmp_path / f"{number}.png"}))
        painted[-1].image.write_bytes(encode_png(picture))
    model = sd15.load(base, device="cpu")
    other = request.drawing.model_copy(update={"references": tuple(painted)})
    ours, theirs = (Drawings(model, request, each).measures.references for each in (request.drawing, other))
    assert np.array_equal(ours, theirs)


def test_a_likeness_that_is_not_measured_cannot_choose(base, pictures, tmp_path):
    with pytest.raises(ValidationError, match="choose is 'likeness', but validate_drawn is 0"):
        TrainSettings.model_validate({"choose": "likeness", "drawn_embedder": "colour"})
    with pytest.raises(ValidationError, match="no held-out picture of the subject is there to compare with"):
        TrainRequest.model_validate(
            {**asked(tmp_path, base, pictures, choose="likeness").model_dump(), "drawing": None}
        )
    with pytest.raises(ValidationError, match="drawn_embedder None"):
        TrainSettings.model_validate({"choose": "likeness", "validate_drawn": 4})
    settings = {"choose": "likeness", "validate_drawn": 4, "drawn_embedder": "colour"}
    lora = {"name": "luca", "type": "character", "subject": "luca", "trigger": "luca", "settings": settings}
    with pytest.raises(ValidationError, match="trainer 'kohya' validates nothing"):
        TrainLoraConfig.model_validate({**lora, "trainer": "kohya"})


@pytest.fixture(autouse=True)
def _plain_arithmetic():
    """Training asks torch for deterministic algorithms: not for the tests after these."""
    yield
    torch.use_deterministic_algorithms(mode=False)
