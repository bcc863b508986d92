"""Places with people in them: what is said of these, and what of their pictures is learnt."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data_contracts.dataset import Dataset, read_rows
from data_contracts.faults import InputFault
from data_contracts.lora_stages import AssembleDatasetConfig, CaptionConfig
from data_contracts.project_file import load_project
from data_contracts.records import (
    Caption,
    Example,
    Expression,
    Frame,
    Identity,
    Layer,
    Place,
    Plate,
    Pose,
    Rejected,
)
from models.caption.lint import Rules
from models.dataset_checks.folder import check_folder
from models.dataset_checks.wanted import Wanted
from models.pictures import read_grey
from tasks.assemble_dataset import assemble_dataset
from tasks.caption_images import caption_images
from tasks.crop_pixels import scaled
from tests.models.sheet_rows import Rows
from tests.tasks.test_caption_images import TOKENIZER

PEOPLE = {"luca": "a boy", "gia": "a girl"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Rows:
    return Rows(tmp_path_factory.mktemp("rows"), every=18)


@pytest.fixture(scope="module")
def subject(rows) -> str:
    """Return a place with plates and people."""
    peopled = {row.shot for row in rows.lists[Layer]}
    return next(row.name for row in rows.lists[Place] if row.shot in peopled)


def captioned(workspace, rows: Rows, subject: str, *, inhabited: bool) -> Dataset[Caption]:
    config = CaptionConfig(type="background", subject=subject, trigger="quay", described_as=PEOPLE, inhabited=inhabited)
    people = rows.of(Layer) if inhabited else None
    cast = (rows.of(Identity), rows.of(Pose), rows.of(Expression)) if inhabited else (None, None, None)
    return caption_images(
        workspace, rows.of(Plate), people, rows.of(Frame), rows.of(Place), *cast, TOKENIZER, (*PEOPLE,), config
    )


def test_people_in_a_place_are_told_but_neither_named_nor_is_the_place_described(tmp_path, rows, subject):
    captions = captioned(tmp_path, rows, subject, inhabited=True)
    shown = captions.where("role", "inhabited")
    assert shown
    assert {row.facets.place for row in shown} == {subject}
    for row in shown:
        parts = row.text.split(", ")
        assert parts[:2] == ["quay", PEOPLE[row.facets.who]]
        assert not {"luca", "gia", "empty scene", f"in {subject}"} & set(parts)
    alone = captioned(tmp_path, rows, subject, inhabited=False)
    assert [row.text for row in captions.where("role", "subject")] == [row.text for row in alone]


def made(workspace, rows: Rows, subject: str, inhabited: int) -> Dataset[Example]:
    config = AssembleDatasetConfig(
        type="background", inhabited=inhabited, resolution=64, held_out_share=0, max_duplicate_distance=-1,
        max_upscale=64,
    )  # fmt: skip
    captions = captioned(workspace, rows, subject, inhabited=True)
    return assemble_dataset(workspace, captions, rows.of(Frame), rows.of(Plate), rows.of(Layer), (), config)


def test_nothing_is_learnt_where_anybody_stands(tmp_path, rows, subject):
    examples = made(tmp_path, rows, subject, inhabited=4)
    shown = examples.where("role", "inhabited")
    assert len(shown) == 4
    for row in shown:
        people = [each for each in rows.of(Layer) if each.frame_id == layer_of(rows, row).frame_id]
        there = np.maximum.reduce([read_grey(rows.of(Layer).path(each.mask)) for each in people])
        learnt = read_grey(examples.path(row.mask))
        assert learnt[scaled(there, row.box, (64, 64)) > 200].max() == 0
        assert 0.15 <= learnt.mean() / 255 < 1
    too_full = [row.reason for row in read_rows(examples.folder / "rejected.parquet", Rejected)]
    assert {"nothing_to_learn", "hardly_any_scenery"} & set(too_full)


def layer_of(rows: Rows, example: Example) -> Layer:
    return rows.of(Layer).by_id[example.source_id]


def test_the_folder_for_trainers_is_consistent_though_its_captions_name_people(tmp_path, rows, subject):
    examples = made(tmp_path, rows, subject, inhabited=4)
    folder = examples.folder / "kohya"
    assert len(list((folder / "inhabited").glob("*.png"))) == 4
    rules = Wanted(rules=Rules(type="background", trigger="quay"))
    assert not [each for each in check_folder(folder, rules) if each.rule == "denied_word"]
    (folder / "inhabited").rename(folder / "other")
    text = (folder / "dataset.toml").read_text().replace('"inhabited"', '"other"')
    (folder / "dataset.toml").write_text(text)
    assert [each for each in check_folder(folder, rules) if each.rule == "denied_word"]


def test_nobody_lives_in_a_character():
    with pytest.raises(ValidationError, match="inhabited is 3, but a character has no people in it"):
        AssembleDatasetConfig(type="character", inhabited=3)


def test_people_are_not_learnt_by_mistake(tmp_path):
    changes = {"loras.portorosso.train.masked_loss": "false"}
    with pytest.raises(InputFault, match=r"inhabited is 60, but without train\.masked_loss the people"):
        load_project(Path(__file__).parents[2] / "configs" / "luca.yaml", changes)
    project = load_project(Path(__file__).parents[2] / "configs" / "luca.yaml")
    assert [plan.caption.inhabited for plan in project.loras.values()] == [False, True, False, False]
