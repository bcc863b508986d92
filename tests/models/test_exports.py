"""Exports: what is read back is what was written, in every trainer's format, and nobody's folder is overwritten."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.digest import path_digest
from data_contracts.exports import ExportItem, items_of
from data_contracts.faults import InputFault, StageFault
from data_contracts.records import Example, Facets
from models.exports import FORMATS
from models.exports.folder import check_same, export_dataset, read_export
from models.exports.pixels import content_stem
from models.pictures import encode_png, read_rgba
from tests.models.export_items import SETTINGS, every_kind, item, mask, picture

CONFIGS = {
    "kohya": "dataset.toml",
    "diffusers": "train/metadata.jsonl",
    "ai-toolkit": "datasets.yaml",
    "onetrainer": "concepts.json",
    "simpletuner": "multidatabackend.json",
    "qwen-edit": "datasets.yaml",
}
every_format = pytest.mark.parametrize("to", list(FORMATS))


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
def items(pictures) -> list[ExportItem]:
    return every_kind(pictures)


@every_format
def test_what_is_read_back_is_what_was_written(to, items, tmp_path):
    folder = export_dataset(to, items, tmp_path / "out", SETTINGS)
    back = read_export(folder)
    check_same(items, back)
    assert len(back) == len(items)
    assert {each.image.resolve().is_relative_to(folder) for each in back} == {True}
    assert (folder / "README.txt").stat().st_size > 200
    assert (folder / CONFIGS[to]).is_file()


one_line = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: text.strip() and text.splitlines() == [text]
)


@every_format
@settings(max_examples=12, deadline=None)
@given(captions=st.lists(one_line, min_size=1, max_size=3))
def test_every_caption_of_one_line_survives(to, captions, tmp_path_factory):
    folder = tmp_path_factory.mktemp(to)
    hard = [
        'luca, "so" \\ he # said',
        "  two spaces first",
        "{a|b} [trigger] [name] $HOME",
        "été, 少年, 🏃‍♂️",
        "- : ' | >",
    ]
    image, weight = picture(folder, 0, (8, 8)), mask(folder, 0, (8, 8))
    written = [item(image, weight, caption) for caption in [*hard, *captions]]
    back = read_export(export_dataset(to, written, folder / "out", SETTINGS))
    assert sorted(each.caption for each in back) == sorted(each.caption for each in written)


@every_format
def test_the_same_items_give_the_same_bytes_and_no_path_of_this_machine(to, items, tmp_path):
    once, again = (export_dataset(to, items, tmp_path / name / "out", SETTINGS) for name in ("a", "b"))
    assert path_digest(once) == path_digest(again)
    texts = [path.read_text(encoding="utf-8") for path in once.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert texts
    assert not any(str(tmp_path) in text or '"/' in text for text in texts)


def test_another_picture_or_another_mask_is_another_name(pictures):
    first = item(picture(pictures, 1), mask(pictures, 1))
    others = [item(picture(pictures, 2), first.mask), item(first.image, mask(pictures, 2)), item(first.image)]
    assert len({content_stem(each) for each in [first, *others]}) == 4
    assert content_stem(item(first.image, first.mask, "luca, in other words", repeats=3)) == content_stem(first)
    assert content_stem(first).startswith(f"{first.image.stem}-{first.mask.stem[:8]}")


@every_format
def test_a_change_in_the_export_is_seen(to, items, tmp_path):
    folder = export_dataset(to, items, tmp_path / "out", SETTINGS)
    back = read_export(folder)
    image = next(each.image for each in back if each.split == "train" and each.role == "subject")
    as_it_was = image.read_bytes()
    changed = as_stored(image)
    changed[0, 0, 0] ^= 1
    image.write_bytes(encode_png(changed))
    with pytest.raises(StageFault, match="read back differs"):
        check_same(items, read_export(folder))
    image.write_bytes(as_it_was)
    check_same(items, read_export(folder))
    image.unlink()
    with pytest.raises(StageFault):
        check_same(items, read_export(folder))


def as_stored(image: Path) -> np.ndarray:
    pixels = read_rgba(image)
    return pixels if image.read_bytes()[25] == 6 else np.ascontiguousarray(pixels[..., :3])


@every_format
def test_a_key_that_the_trainer_does_not_know_is_named(to, items, tmp_path):
    folder = export_dataset(to, items, tmp_path / "out", SETTINGS)
    path = folder / CONFIGS[to]
    text = path.read_text(encoding="utf-8")
    typing_error = {
        "kohya": ("num_repeats", "num_repeat"),
        "diffusers": ('"repeats"', '"num_repeats"'),
        "ai-toolkit": ("num_repeats", "repeats"),
        "onetrainer": ("balancing_strategy", "balancing_mode"),
        "simpletuner": ("caption_strategy", "caption_mode"),
        "qwen-edit": ("control_path", "controls_path"),
    }[to]
    assert typing_error[0] in text
    path.write_text(text.replace(*typing_error), encoding="utf-8")
    with pytest.raises(StageFault, match="which the trainer does not know"):
        read_export(folder)


def test_what_is_no_export_is_left_alone(items, tmp_path):
    mine = tmp_path / "out"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputFault, match="is no export") as fault:
        export_dataset("kohya", items, mine, SETTINGS)
    assert fault.value.exit_code == 2
    with pytest.raises(InputFault, match="is no export"):
        export_dataset("kohya", items, mine / "thesis.txt", SETTINGS)
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "thesis.txt").write_text("chapter 2")
    with pytest.raises(InputFault, match=r"new\.part"):
        export_dataset("kohya", items, tmp_path / "new", SETTINGS)
    assert [path.read_text() for path in sorted(tmp_path.rglob("thesis.txt"))] == ["chapter 2", "years of work"]


def test_an_export_that_fails_leaves_the_older_one(items, tmp_path):
    folder = export_dataset("kohya", items, tmp_path / "out", SETTINGS)
    before = path_digest(folder)
    torn = tmp_path / "torn.png"
    torn.write_bytes(items[0].image.read_bytes()[:100])
    with pytest.raises(InputFault, match=r"torn\.png"):
        export_dataset("kohya", [*items, item(torn)], folder, SETTINGS)
    with pytest.raises(InputFault, match="48x96 pixels, its mask 64x64"):
        export_dataset("kohya", [item(items[2].image, items[0].mask)], folder, SETTINGS)
    assert path_digest(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures", "torn.png"]


def test_an_older_export_and_what_was_left_of_a_killed_one_are_replaced(items, tmp_path):
    folder = export_dataset("kohya", items, tmp_path / "out", SETTINGS)
    for ending in (".part", ".old"):
        left = tmp_path / f"out{ending}"
        left.mkdir()
        (left / "export.json").write_text("{}")
    export_dataset("onetrainer", items[:2], folder, SETTINGS)
    assert not (folder / "dataset.toml").exists()
    check_same(items[:2], read_export(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures"]


def test_wrong_use_is_named(items, tmp_path):
    with pytest.raises(InputFault, match="known are: kohya, diffusers, ai-toolkit, onetrainer, simpletuner, qwen-edit"):
        export_dataset("lora", items, tmp_path / "out", SETTINGS)
    with pytest.raises(InputFault, match="no picture to train on"):
        export_dataset("kohya", items[5:7], tmp_path / "out", SETTINGS)
    with pytest.raises(InputFault, match="is not an export"):
        read_export(tmp_path)


def example(name: str, caption: str, **facts) -> Example:
    where = {"film": "harbour", "shot": "harbour:s0001", "frame": 7, "time_s": 0.3, "source_id": name, "sharpness": 1.0}
    known = {"box": (0, 0, 64, 64), "facets": Facets(), "image": "a.png", "mask": None, "tokens": 9}
    return Example(id=name, **where, **{**known, "caption": caption, "repeats": 10, "split": "train", **facts})


def test_captions_that_no_trainer_reads_whole_are_named_all_at_once(tmp_path):
    rows = [example("a", "luca,\nrunning"), example("b", " "), example("c", "luca"), example("d", "luca\u2028")]
    with pytest.raises(InputFault) as fault:
        items_of(tmp_path, rows)
    lines = str(fault.value).split("\n")
    assert [line[:2] for line in lines] == ["a:", "b:", "d:"]
    assert "line break" in lines[0]
    held = items_of(tmp_path, [example("c", "luca", split="held_out")])
    assert held[0].repeats == 1
