"""Every fault of a training folder is named at once, with its file, and no bytes make the checker stumble."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_contracts.check_faults import errors_of
from data_contracts.exports import ExportItem, ExportSettings
from data_contracts.training import TrainExample, TrainSettings
from models.caption.lint import REMEDIES, Rules
from models.caption.tokens import load_tokenizer
from models.dataset_checks.examples import check_examples
from models.dataset_checks.folder import check_folder
from models.dataset_checks.picture import MAX_BYTES
from models.dataset_checks.rules import RULES
from models.dataset_checks.wanted import Wanted
from models.diffusion.lite_base import FOLDER
from models.exports import FORMATS
from tests.models.broken_folders import (
    BROKEN,
    BROKEN_LINES,
    RESOLUTION,
    Sample,
    add_line,
    disc,
    encoded,
    good_folder,
    line,
    listed_folder,
    noise,
    save,
)


@pytest.fixture(scope="module")
def wanted() -> Wanted:
    rules = Rules("character", "luca", others=("gia",), tokenizer=load_tokenizer(FOLDER / "tokenizer"))
    return Wanted(resolution=RESOLUTION, rules=rules)


def named(folder: Path, wanted: Wanted | None = None) -> set[tuple[str, str]]:
    return {(fault.rule, fault.place) for fault in check_folder(folder, wanted)}


def test_good_folders_have_no_fault(tmp_path, wanted):
    assert check_folder(good_folder(tmp_path / "good"), wanted) == []
    assert check_folder(listed_folder(tmp_path / "listed"), wanted) == []


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named_with_its_file(what, tmp_path, wanted):
    rule, spoil = BROKEN[what]
    folder = good_folder(tmp_path / "set")
    place = spoil(Sample(folder, "b"))
    faults = check_folder(folder, wanted)
    assert (rule, place) in {(fault.rule, fault.place) for fault in faults}, [str(fault) for fault in faults]
    assert all(fault.value and fault.remedy for fault in faults)
    # Nothing is said of the other samples.
    assert not [str(fault) for fault in faults if Path(fault.place).stem in {"a", "c"}]


@pytest.mark.parametrize("what", BROKEN_LINES)
def test_a_broken_line_is_named_with_its_number(what, tmp_path):
    rule, make = BROKEN_LINES[what]
    folder = listed_folder(tmp_path / "set")
    place = add_line(folder, make)
    assert place == "metadata.jsonl:4"
    assert (rule, place) in named(folder)


def test_all_faults_are_named_at_once(tmp_path, wanted):
    folder = tmp_path / "all"
    expected = set()
    for number, (rule, spoil) in enumerate(BROKEN.values()):
        expected.add((rule, spoil(Sample(folder, f"s{number:02}").write())))
    listed = listed_folder(folder / "listed")
    for rule, make in BROKEN_LINES.values():
        expected.add((rule, f"listed/{add_line(listed, make)}"))
    found = named(folder, wanted)
    assert len(expected) >= 70
    assert expected <= found, expected - found


def test_every_rule_has_a_case():
    cases = {rule for rule, _ in (*BROKEN.values(), *BROKEN_LINES.values())}
    elsewhere = {
        "no_folder", "no_pictures", "unreadable", "huge_file", "no_alpha", "metadata_unlisted",
        "cut_to_square", "toml_wrong", "toml_key", "toml_missing_folder", "toml_leaves",
    }  # fmt: skip
    assert cases | elsewhere == set(RULES) | (set(REMEDIES) - {"equal_captions", "learnt_word"})


def test_a_folder_without_pictures(tmp_path):
    assert named(tmp_path) == {("no_pictures", ".")}
    assert named(tmp_path / "gone") == {("no_folder", "gone")}


def test_a_picture_that_no_line_lists(tmp_path):
    folder = listed_folder(tmp_path / "set")
    save(folder / "more.png", noise("more"))
    assert named(folder) == {("metadata_unlisted", "more.png")}


@pytest.fixture
def open_folder():
    """A folder that every user may look into, unlike pytest's own."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """The superuser may read everything."""
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
def test_what_may_not_be_read(open_folder):
    folder = good_folder(open_folder / "set")
    (folder / "b.png").chmod(0)
    (folder / "c.txt").chmod(0)
    (folder / "masks").chmod(0)
    with as_nobody():
        found = named(folder)
    assert {("unreadable", "b.png"), ("unreadable", "c.txt"), ("unreadable", "masks")} <= found
    folder.chmod(0)
    with as_nobody():
        assert ("unreadable", ".") in named(folder)
    open_folder.chmod(0)
    with as_nobody():
        assert named(folder) == {("unreadable", "set")}


def test_links_within_the_folder_and_to_folders(tmp_path):
    folder = good_folder(tmp_path / "set")
    (folder / "b.png").rename(folder / "kept")
    (folder / "b.png").symlink_to("kept")
    assert named(folder) == set()
    (folder / "again").symlink_to("masks")
    (folder / "notes").symlink_to("gone")
    assert named(folder) == {("folder_not_read", "again")}
    (folder / "up").symlink_to(tmp_path)
    assert named(folder) == {("folder_not_read", "again"), ("link_leaves", "up")}


def test_a_file_too_large_to_be_a_picture_is_not_opened(tmp_path):
    folder = good_folder(tmp_path / "set")
    os.truncate(folder / "b.png", MAX_BYTES + 1)  # a hole, not half a gigabyte
    assert named(folder) == {("huge_file", "b.png")}


@pytest.mark.parametrize("name", FORMATS)
def test_exports_have_no_fault(name, tmp_path):
    folder = good_folder(tmp_path / "set", tuple("abcd"))
    items = [
        ExportItem(
            image=folder / f"{name}.png",
            mask=folder / "masks" / f"{name}.png",
            caption="a boy" if name == "c" else f"luca, at the {name}",
            repeats=1 if name == "d" else 2,
            split="held_out" if name == "d" else "train",
            role="regularisation" if name == "c" else "subject",
        )
        for name in "abcd"
    ]
    export = tmp_path / "export"
    export.mkdir()
    FORMATS.load(name).write(items, export, ExportSettings(name="luca", trigger="luca", resolution=96))
    assert check_folder(export, Wanted(rules=Rules("character", "luca"))) == []


def alpha_folder(folder: Path) -> Path:
    for name in "abc":
        picture = noise(name).convert("RGBA")
        picture.putalpha(disc(picture.width))
        save(folder / f"{name}.png", picture)
        (folder / f"{name}.txt").write_text(f"luca, at the {name}", encoding="utf-8")
    return folder


def test_masks_in_the_alpha_channel(tmp_path):
    folder = alpha_folder(tmp_path / "set")
    assert named(folder) == set()
    save(folder / "b.png", noise("b"))
    assert named(folder) == {("no_alpha", "b.png")}
    assert named(folder, Wanted(masked=True)) == {("missing_mask", "b.png")}


def test_masks_beside_pictures_and_masks_that_are_wanted(tmp_path):
    folder = good_folder(tmp_path / "set")
    for name in "abc":
        (folder / "masks" / f"{name}.png").rename(folder / f"{name}-masklabel.png")
    assert named(folder) == set()
    (folder / "b-masklabel.png").unlink()
    assert named(folder) == {("missing_mask", "b.png")}
    assert named(folder, Wanted(masked=False)) == set()


def test_dataset_toml_says_which_folders_and_endings_count(tmp_path):
    good_folder(tmp_path / "set" / "10_luca")
    (tmp_path / "set" / "masks_of_it").mkdir()
    toml = tmp_path / "set" / "dataset.toml"
    head = '[general]\ncaption_extension = ".txt"\n[[datasets]]\nresolution = [512, 512]\n[[datasets.subsets]]\n'
    toml.write_text(head + 'image_dir = "10_luca"\nconditioning_data_dir = "10_luca/masks"\n')
    assert {rule for rule, _ in named(tmp_path / "set")} == {"too_small"}
    toml.write_text(head.replace("[512, 512]", "256") + 'image_dir = "10_luca"\n')
    assert named(tmp_path / "set") == set()
    toml.write_text(head.replace('".txt"', '".caption"') + 'image_dir = "10_luca"\n')
    assert ("missing_caption", "10_luca/a.png") in named(tmp_path / "set")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[[datasets", "toml_wrong"),
        ("datasets = 5", "toml_wrong"),
        ("[[datasets]]\nsubsets = 'x'", "toml_wrong"),
        ("[[datasets]]\nresolutoin = 512\n[[datasets.subsets]]\nimage_dir = '.'", "toml_key"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'gone'", "toml_missing_folder"),
        ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 2", "toml_missing_folder"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = '../..'", "toml_leaves"),
    ],
)
def test_a_wrong_dataset_toml(text, rule, tmp_path):
    good_folder(tmp_path / "set")
    (tmp_path / "set" / "dataset.toml").write_text(text)
    assert (rule, "dataset.toml") in named(tmp_path / "set")


def test_regularisation_pictures_need_no_trigger_and_repeat_no_subject(tmp_path, wanted):
    good_folder(tmp_path / "set" / "train")
    for name in "de":
        sample = Sample(tmp_path / "set" / "regularisation", name).write()
        sample.says(f"a boy with brown hair, at the {name}")
    assert named(tmp_path / "set", wanted) == set()
    sample.says("luca, at the e")
    assert named(tmp_path / "set", wanted) == {("other_trigger", "regularisation/e.txt")}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    picture=st.binary(max_size=400),
    text=st.binary(max_size=200),
    header=st.sampled_from(["", "PNG", "JPEG", "WEBP", "GIF"]),
)
def test_no_bytes_stop_the_check(picture, text, header, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    good = encoded(noise("good", (64, 64)), header) if header else b""
    (folder / "a.png").write_bytes(good[: len(good) // 2] + picture)
    (folder / "a.txt").write_bytes(text)
    (folder / "masks").mkdir()
    (folder / "masks" / "a.png").write_bytes(picture + good)
    (folder / "sub").mkdir()
    (folder / "sub" / "metadata.jsonl").write_bytes(text + b"\n" + picture)
    (folder / "dataset.toml").write_bytes(text)
    assert all(fault.place and fault.remedy for fault in check_folder(folder))
    assert ("missing_caption", "a.png") not in named(folder)


def test_a_hundred_pictures_take_a_few_seconds(tmp_path):
    good_folder(tmp_path / "set", tuple(f"n{number}" for number in range(100)))
    start = time.perf_counter()
    assert check_folder(tmp_path / "set") == []
    assert time.perf_counter() - start < 6.0


def test_examples_are_checked_before_a_training(tmp_path):
    folder = good_folder(tmp_path / "set", tuple("abcdef"))
    masked = TrainSettings(masked_loss=True)
    examples = {
        name: TrainExample(image=folder / f"{name}.png", mask=folder / "masks" / f"{name}.png", caption="luca")
        for name in "abcdef"
    }
    assert check_examples(list(examples.values()), masked) == []
    (folder / "a.png").write_bytes(b"")
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(folder / "masks" / "b.png")
    Image.fromarray(np.full((96, 90), 255, np.uint8)).save(folder / "masks" / "c.png")
    (folder / "masks" / "d.png").unlink()
    examples["e"] = examples["e"].model_copy(update={"mask": None, "caption": " "})
    found = check_examples(list(examples.values()), masked)
    assert {(fault.rule, fault.place) for fault in found} == {
        ("undecodable", "a.png"), ("mask_black", "b.png"), ("mask_size", "c.png"), ("mask_undecodable", "d.png"),
        ("missing_mask", "e.png"), ("empty_caption", "e.png"),
    }  # fmt: skip
    assert errors_of(found) == found
    unmasked = check_examples(list(examples.values()), TrainSettings())
    assert {fault.rule for fault in unmasked} == {"undecodable", "empty_caption"}
    assert [fault.rule for fault in check_examples([], masked)] == ["no_pictures"]


def test_pictures_that_a_training_on_squares_would_cut_are_named(tmp_path):
    examples = []
    for name, size in (("a", (96, 96)), ("b", (96, 110)), ("c", (60, 100)), ("d", (100, 60))):
        save(tmp_path / f"{name}.png", noise(name, size))
        examples.append(TrainExample(image=tmp_path / f"{name}.png", caption="luca, full body"))
    found = check_examples(examples, TrainSettings())
    assert {(fault.rule, fault.place) for fault in found} == {("cut_to_square", "c.png"), ("cut_to_square", "d.png")}
    assert errors_of(found) == found
    assert check_examples(examples, TrainSettings(buckets=True)) == []


def test_lines_with_masks_are_checked_as_masks(tmp_path):
    folder = listed_folder(tmp_path / "set", ("a",))
    save(folder / "masks" / "a.png", Image.new("L", (96, 96)))
    (folder / "metadata.jsonl").write_bytes(line(file_name="a.png", text="luca, here", mask_file_name="masks/a.png"))
    assert named(folder) == {("mask_black", "masks/a.png")}
