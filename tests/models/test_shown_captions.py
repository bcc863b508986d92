"""How captions are shown in training: whole, in part, or not at all, and what is to be learnt then."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data_contracts.training import TrainRequest, TrainSettings
from models.diffusion import load_base
from models.diffusion.lora_stack import adapters_off
from models.trainers.captions import FORMS, caption_forms
from models.trainers.examples import draw, prepare
from models.trainers.native import Learner
from models.trainers.step import Adapter, Trainer
from models.trainers.team import Team
from tests.models.family_runs import SETTINGS, as_killed_after_the_first_checkpoint, left_by, tiny_examples, train_in
from tests.random_base import make_random_base

KEPT = {"blank_preservation": True, "caption_dropout": 0.4, "caption_tag_dropout": 0.4}
PART = st.text(st.characters(exclude_characters=",", exclude_categories=("Cs",))).map(str.strip).filter(bool)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base", seed=0)


def trainer_of(base: Path, folder: Path, **changes: object) -> Trainer:
    config = TrainSettings.model_validate({**SETTINGS, **changes})
    model = load_base(base, device="cpu")
    return Trainer(Adapter(model, config), prepare(model, tiny_examples(folder), config), config)


@given(st.lists(PART, min_size=1), st.integers(1, 3), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_the_first_parts_always_stay_and_the_others_keep_their_order(
    parts: list[str], stays: int, dropout: float, seed: int
):
    forms = caption_forms(", ".join(parts), dropout, torch.Generator().manual_seed(seed), keep_tokens=stays)
    assert len(forms) == FORMS
    for form in forms:
        kept = form.split(", ")
        assert kept[:stays] == parts[:stays]
        others = iter(parts[stays:])
        assert all(part in others for part in kept[stays:])


def test_tags_without_a_space_between_them_are_parts_too():
    forms = caption_forms("luca,boy,striped shirt,pier", 0.99, torch.Generator().manual_seed(0))
    assert forms == ["luca"] * FORMS


@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.75])
def test_as_many_parts_are_left_out_as_asked_for(dropout: float):
    parts = [f"part {number}" for number in range(1000)]
    forms = caption_forms(", ".join(["luca", *parts]), dropout, torch.Generator().manual_seed(0))
    assert sum(len(form.split(", ")) - 1 for form in forms) / len(forms) == pytest.approx(1000 * (1 - dropout), rel=0.1)


def test_a_trigger_with_a_comma_stays_whole(base, tmp_path):
    told = {"caption": "luca, the boy, on a beach"}
    examples = tuple(example.model_copy(update=told) for example in tiny_examples(tmp_path))
    values = TrainSettings.model_validate({**SETTINGS, "caption_tag_dropout": 0.9})
    request = TrainRequest(
        name="luca", trigger="luca, the boy", base=base, examples=examples, output=tmp_path, settings=values
    )
    shown = {form for forms in Learner(request, Team()).trainer.prepared.captions for form in forms}
    assert "luca, the boy" in shown
    assert all(form.startswith("luca, the boy") for form in shown)


@pytest.mark.parametrize("changes", [{}, {"masked_loss": False}, {"masked_prior": 0.0}])
def test_what_is_shown_without_caption_costs_nothing_while_it_is_as_the_base_model_draws_it(changes, base, tmp_path):
    keeps, learns = (
        trainer_of(base, tmp_path, caption_dropout=0.5, blank_preservation=kept, **changes) for kept in (True, False)
    )
    captions, losses, plain = [], [], []
    with torch.no_grad():
        for number in range(6):
            captions += draw(keeps.prepared, keeps.settings, number, keeps.objective).captions
            losses += keeps._losses(number, 0).tolist()
            plain += learns._losses(number, 0).tolist()
    assert "" in captions
    assert set(captions) != {""}
    for caption, loss, other in zip(captions, losses, plain, strict=True):
        assert loss == pytest.approx(other if caption else 0, rel=1e-4)


def test_what_is_learnt_is_drawn_where_the_trigger_asks_for_it_and_not_without(base, tmp_path):
    def moved(*, kept: bool) -> tuple[float, float]:
        """Train, and return how far the adapter moves what is said of a caption, and of none."""
        chosen = {"steps": 60, "learning_rate": 2e-2, "caption_dropout": 0.5, "masked_prior": 0.0}
        trainer = trainer_of(base, tmp_path, **chosen, blank_preservation=kept)
        for number in range(trainer.settings.steps):
            trainer.step(number)
        model = trainer.adapter.model
        noisy, timesteps = (
            torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0)),
            torch.tensor([800, 800]),
        )
        changes = []
        with torch.no_grad():
            for caption in ("luca, running", ""):
                told = model.encode_prompts([caption] * 2)
                changed = model.predict(noisy, timesteps, told)
                with adapters_off(model.unet):
                    changes.append(float((changed - model.predict(noisy, timesteps, told)).square().mean()))
        return changes[0], changes[1]

    asked, unasked = moved(kept=True)
    _, free = moved(kept=False)
    assert unasked < 0.7 * free
    assert unasked < asked


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(base, tmp_path):
    examples = tiny_examples(tmp_path)
    train_in(tmp_path / "run", base, examples, **KEPT)
    train_in(tmp_path / "plain", base, examples)
    assert left_by(tmp_path / "run") != left_by(tmp_path / "plain")
    copy = as_killed_after_the_first_checkpoint(tmp_path / "run", tmp_path / "copy")
    train_in(copy, base, examples, **KEPT)
    assert left_by(copy) == left_by(tmp_path / "run")


def test_preserving_what_is_never_shown_is_refused():
    with pytest.raises(ValidationError, match="caption_dropout is 0, so nothing is shown without caption: raise it to"):
        TrainSettings.model_validate({**SETTINGS, "blank_preservation": True, "caption_dropout": 0})
