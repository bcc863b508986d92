"""What the trainer is asked for, and what a LoRA's row says of its validations."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.records import Example
from data_contracts.training import DrawRequest
from data_contracts.validations import Drawn, Validation, drawn_path
from models.pictures import read_rgb
from models.trainers.pictures import write_png
from tasks.train_lora import request_for, spread, validated

NOT_DRAWN = {"drawn": (), "drawn_steps": (), "base_likeness": None, "likeness": None, "copies": None}
LORA = {"name": "luca", "type": "character", "subject": "luca", "trigger": "luca"}


def examples_of(shots: dict[str, int], held_out: tuple[str, ...] = (), others: int = 0) -> Dataset[Example]:
    """Return so many examples of each shot; `others` of another character besides, in shots that are learnt."""
    rows = [
        Example(id=f"{shot}:{n}", film="harbour", shot=shot, frame=n, time_s=n, source_id="it", box=(0, 0, 8, 8),
                facets={}, role="regularisation" if n >= count else "subject", image=f"{shot}-{n}.png", mask=None,
                caption="luca", tokens=3, repeats=1, split="held_out" if shot in held_out else "train", sharpness=1)
        for shot, count in shots.items()
        for n in range(count + (0 if shot in held_out else others))
    ]  # fmt: skip
    return Dataset(Example, Path("examples"), rows)


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8), count=st.integers(0, 40))
def test_validations_are_spread_over_the_shots(sizes, count):
    rows = examples_of({f"s{n}": size for n, size in enumerate(sizes)})
    chosen = spread(rows, count)
    assert len(chosen) == len({row.id for row in chosen}) == min(count, sum(sizes))
    taken = {f"s{n}": sum(row.shot == f"s{n}" for row in chosen) for n in range(len(sizes))}
    most = max(taken.values(), default=0)
    assert all(taken[f"s{n}"] >= min(size, most - 1) for n, size in enumerate(sizes))


def test_held_out_pictures_are_measured_beside_as_many_learnt_ones(tmp_path):
    rows = examples_of({"a": 9, "b": 4, "c": 3, "d": 2}, held_out=("c", "d"), others=2)
    config = TrainLoraConfig.model_validate({**LORA, "settings": {"validate_pictures": 4}})
    request = request_for(tmp_path, rows, tmp_path, config)
    assert len(request.examples) == 17
    assert sorted(path.image.name for path in request.held_out) == ["c-0.png", "c-2.png", "d-0.png", "d-1.png"]
    assert sorted(path.image.name for path in request.compared) == ["a-2.png", "a-6.png", "b-1.png", "b-3.png"]
    assert not {each.image for each in request.held_out} & {each.image for each in request.examples}
    blind = TrainLoraConfig.model_validate({**LORA, "settings": {"validate_every": 0}})
    assert request_for(tmp_path, rows, tmp_path, blind).held_out == ()


def test_a_row_says_what_its_validations_were_and_nothing_where_there_were_none(tmp_path):
    log = tmp_path / "validation.jsonl"
    assert validated(tmp_path, log, 20, "last") == {}
    course = [
        Validation(step=step, held_out=(loss, loss), learnt=(loss / 2,)) for step, loss in ((0, 3), (10, 1), (20, 2))
    ]
    log.write_text("".join(each.model_dump_json() + "\n" for each in course))
    said = validated(tmp_path, log, 20, "last")
    assert (tmp_path / said.pop("validation_log")).read_bytes() == log.read_bytes()
    assert said == {"best_step": 10, "base_held_out_loss": 3.0, "held_out_loss": 2.0, "learnt_loss": 1.0} | NOT_DRAWN


def test_held_out_captions_are_drawn_with_plain_words_for_the_scorer(tmp_path):
    rows = examples_of({"a": 9, "b": 4, "c": 2}, held_out=("b", "c"))
    settings = {"validate_drawn": 8, "validate_pictures": 4}

    def drawing(**changes: object) -> DrawRequest | None:
        config = TrainLoraConfig.model_validate({**LORA, "settings": settings, **changes})
        return request_for(tmp_path, rows, tmp_path, config).drawing

    asked = drawing()
    assert len(asked.prompts) == 8  # of six captions: two are drawn again, from other noise
    assert {each.caption for each in asked.prompts} == {"luca"}
    assert {each.plain for each in asked.prompts} == {"a character"}
    assert sorted(each.image.name[0] for each in asked.references) == ["b"] * 4 + ["c"] * 2
    assert drawing(type="pose", subject="running").prompts[0].plain == "running"
    assert drawing(settings={**settings, "validate_drawn": 0}) is None
    assert drawing(settings={**settings, "validate_every": 0}) is None
    assert drawing(trainer="kohya") is None


def test_a_row_says_how_like_what_it_draws_is(tmp_path):
    log = tmp_path / "validation.jsonl"
    course = [
        Validation(step=step, held_out=(1.0,), drawn=Drawn(pictures=2, likeness=(value, value)))
        for step, value in ((0, 0.5), (10, 0.75), (20, 0.25))
    ]
    log.write_text("".join(each.model_dump_json() + "\n" for each in course))
    for each in course:
        for number in range(2):
            write_png(drawn_path(tmp_path, each.step, number), np.full((8, 8, 3), each.step + number, np.uint8))
    said = validated(tmp_path, log, 20, "likeness")
    assert (said["best_step"], said["base_likeness"], said["likeness"], said["copies"]) == (10, 0.5, 0.25, None)
    assert said["drawn_steps"] == (0, 0, 10, 10, 20, 20)
    assert read_rgb(tmp_path / said["drawn"][3])[0, 0, 0] == 11
