"""The evaluation suite's prompts, its summary of planted measures, its words and its sheet."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import CaptionConfig
from data_contracts.project_file import load_project
from data_contracts.records import LoraType
from data_contracts.results import CopyCheck, Finding, Score, SuitePicture, SuiteScores
from models.caption.denied import denied
from models.caption.tokens import load_tokenizer
from models.diffusion.lite_base import FOLDER
from models.embed import unit_rows
from models.sheets.drawing import GREEN, RED
from models.sheets.suite import suite_sheet
from models.suite.prompts import categories_of, class_words, plain_prompts, suite_prompts
from models.suite.summary import read_summary, summarise, write_summary
from models.suite.thoroughness import THOROUGHNESS
from models.suite.words import markdown, sentence
from tests.small_project import CONFIG

TYPES = get_args(LoraType)
ASIDE = {"character": {"clothing", "expressions"}, "background": {"with people", "actions", "compositions"}}
"""Categories whose point is what captions of the type never say."""


def caption(kind: str, **values: object) -> CaptionConfig:
    return CaptionConfig.model_validate({"type": kind, "subject": "luca", "trigger": "luca", **values})


# prompts


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_nine_categories_of_five_prompts_of_its_own(kind):
    categories = categories_of(kind)
    assert [len(words) for words in categories.values()] == [5] * 9
    assert len({words for each in categories.values() for words in each}) == 45
    others = {words for other in TYPES if other != kind for each in categories_of(other).values() for words in each}
    assert len(others & {words for each in categories.values() for words in each}) < 15


@pytest.mark.parametrize("kind", TYPES)
def test_prompts_do_not_say_what_the_trigger_shall_bring(kind):
    for category, entries in categories_of(kind).items():
        if category not in ASIDE.get(kind, set()):
            assert not [words for words in entries if denied().types[kind].found_in(words)], category
    assert not [words for each in categories_of(kind).values() for words in each if denied().negations.found_in(words)]


def test_quick_standard_and_thorough_are_as_large_as_they_say():
    sizes = {name: 5 * much.categories * len(much.seeds) for name, much in THOROUGHNESS.items()}
    assert sizes == {"quick": 20, "standard": 135, "thorough": 225}
    assert len(THOROUGHNESS["standard"].strengths) > 1
    assert set(THOROUGHNESS["standard"].seeds) < set(THOROUGHNESS["thorough"].seeds)


def test_a_prompt_is_put_together_as_captions_are():
    style = caption("character", prefix="3d animation")
    prompts, plain = suite_prompts(style, 4), plain_prompts(style, "a boy")
    assert len(prompts) == 20
    assert prompts[0].category == "portraits"
    assert prompts[0].text == "luca, 3d animation, close-up portrait, looking at the viewer"
    assert plain[prompts[0].text] == "3d animation, a boy, close-up portrait, looking at the viewer"
    assert len(plain) == 45
    without_style = suite_prompts(caption("pose", trigger="running pose {1}"), 9)
    assert without_style[0].text == "running pose {1}, a boy, full body, side view"
    assert len(without_style) == 45


@pytest.mark.parametrize(
    ("kind", "subject", "described", "expected"),
    [
        ("character", "luca", "a boy with brown curly hair, wearing a shirt", "a boy"),
        ("character", "gia", "gia", "a character"),
        ("character", "character-3", "a boy", "a character"),
        ("background", "town", "a town street with orange houses", "a town street"),
        ("background", "beach", "on a beach, sunny", "on a beach"),
        ("pose", "running", "", "running"),
        ("pose", "pose-2", "", "a pose"),
        ("expression", "happy", "", "happy expression"),
    ],
)
def test_the_class_is_the_description_without_what_is_special(kind, subject, described, expected):
    described_as = {subject: described} if described else {}
    assert class_words(caption(kind, subject=subject, described_as=described_as)) == expected


def test_the_small_base_reads_every_prompt_whole():
    tokenizer = load_tokenizer(FOLDER / "tokenizer")
    for plan in load_project(CONFIG).loras.values():
        prompts = suite_prompts(plan.caption, 9)
        assert max(len(tokenizer(prompt.text).input_ids) for prompt in prompts) <= 40


# what a LoRA changes


def row(category: str, number: int, seed: int, strength: float, **measured: object) -> SuiteScores:
    key = f"luca:{category}:{number}:{seed}:{strength:g}"
    fields = {"findings": (), "scores": (), "copying": None, **measured}
    return SuiteScores(
        id=f"{key}:scores",
        picture_id=key,
        category=category,
        prompt=f"luca, {category} {number}",
        seed=seed,
        strength=strength,
        **fields,
    )


def planted(gain: dict[float, float], copies: int = 0) -> list[SuiteScores]:
    """Return rows whose likeness rises by `gain` at each strength, found from strength 1 on, the first ones copies."""
    random = np.random.default_rng(3)
    noise = {(c, n, s): random.normal(0, 0.02) for c in ("portraits", "actions") for n in range(5) for s in (1, 2, 3)}
    rows = []
    for strength, more in {0.0: 0.0, **gain}.items():
        for place, (key, offset) in enumerate(noise.items()):
            value = 0.3 + offset + more + random.normal(0, 0.005)
            check = CopyCheck(
                nearest="film:7", to_training=0.2, to_held_out=0.9, is_copy=bool(strength) and place < copies
            )
            rows.append(
                row(
                    *key,
                    strength,
                    findings=(Finding(lora="luca", probability=0.9 if strength >= 1 else 0.1),),
                    scores=(Score(measure="likeness dinov2-base", value=value), Score(measure="text clip", value=0.25)),
                    copying=check,
                )
            )
    return rows


def test_the_summary_finds_what_was_planted():
    rows = planted({0.6: 0.1, 1.0: 0.2}, copies=4)
    vectors = unit_rows(np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32))
    vectors[[n for n, each in enumerate(rows) if each.strength == 1]] = vectors[0]
    summary = summarise("luca", rows, vectors, {"text siglip": "no weights"})
    assert [cell.strength for cell in summary.overall] == [0.6, 1.0]
    assert {cell.category for cell in summary.cells} == {"all", "portraits", "actions"}
    for cell, gain in zip(summary.overall, (0.1, 0.2), strict=True):
        assert cell.pictures == 30
        effect = cell.effect("likeness dinov2-base")
        assert effect.difference == pytest.approx(gain, abs=0.01)
        assert effect.low < gain < effect.high
        assert effect.high - effect.low < 0.02  # pairs of one seed: their common noise is not in it
        assert cell.effect("text clip").difference == 0
        assert cell.effect("text clip").low is None
        assert cell.effect("copies").value == pytest.approx(4 / 30, abs=1e-4)
        assert cell.effect("copies").base == 0
        assert cell.effect("text siglip") is None
    weak, strong = summary.overall
    assert (weak.effect("found").value, strong.effect("found").value) == (0, 1)
    assert strong.effect("diversity").value == pytest.approx(1, abs=1e-4)
    assert weak.effect("diversity").value > 4


def test_what_was_not_measured_is_not_in_the_summary():
    rows = [row("portraits", 0, seed, strength) for seed in (1, 2) for strength in (0.0, 1.0)]
    summary = summarise("luca", rows, None, {"likeness": "nothing is held out"})
    assert summary.measures == ()
    assert [cell.category for cell in summary.cells] == ["all"]
    text = markdown(summary, rows)
    assert "- likeness: nothing is held out" in text
    assert "copying" not in text


def test_the_words_say_how_much_how_sure_and_which_copies(tmp_path):
    rows = planted({0.8: 0.21}, copies=2)
    summary = summarise("luca", rows, None, {})
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    said = sentence(summary.overall[0])
    assert said.startswith("strength 0.8, against the base: found 0%, as before; likeness by dinov2-base +0.2")
    assert "text score by clip 0.250, as before" in said
    assert said.endswith("copying 2 of 30 pictures")
    assert sentence(summarise("luca", planted({0.8: 0.21}), None, {}).overall[0]).endswith("copying none")
    text = markdown(summary, rows)
    assert "luca:portraits:0:2:0.8 repeats film:7: 0.20 from it, 0.90 from what is held out" in text
    assert "| portraits | 0.8 | 15 | 0% (+0) |" in text


# the sheet


def colours(sheet: Image.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in sheet.getcolors(sheet.width * sheet.height)}


def drawn(folder: Path, rows: list[SuiteScores]) -> Dataset[SuitePicture]:
    (folder / "files").mkdir(parents=True)
    Image.new("RGB", (64, 64), (90, 60, 30)).save(folder / "files" / "one.png")
    pictures = [
        SuitePicture(
            id=each.picture_id,
            category=each.category,
            prompt=each.prompt,
            seed=each.seed,
            strength=each.strength,
            image="one.png",
        )
        for each in rows
    ]
    return Dataset(SuitePicture, folder, pictures)


@pytest.mark.parametrize("strengths", [(1.0,), (0.6, 0.8, 1.0), (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8)])
def test_the_sheet_has_a_row_for_each_category_and_frames_what_was_found(strengths, tmp_path):
    rows = planted(dict.fromkeys(strengths, 0.1))
    pictures = drawn(tmp_path, rows)
    sheet = suite_sheet(Dataset(SuiteScores, tmp_path, rows), pictures, None, None)
    assert sheet.width == 1200
    assert sheet.height < 1600
    assert GREEN in colours(sheet)
    variants = len(strengths) + 1
    pixels = (np.asarray(sheet) == (90, 60, 30)).all(axis=2).sum() / (2 * variants * max(1, 8 // variants))
    assert np.sqrt(pixels) == int(np.sqrt(pixels)) > 85  # squares, in both rows as many as there is room for
    assert sheet.tobytes() == suite_sheet(Dataset(SuiteScores, tmp_path, rows), pictures, None, None).tobytes()


def test_copies_are_framed_red_and_nothing_makes_no_sheet(tmp_path):
    rows = planted({0.5: 0.1}, copies=30)
    pictures = drawn(tmp_path, rows)
    assert RED in colours(suite_sheet(Dataset(SuiteScores, tmp_path, rows), pictures))
    assert RED not in colours(suite_sheet(Dataset(SuiteScores, tmp_path, planted({0.5: 0.1})), pictures))
    assert suite_sheet(Dataset(SuiteScores, tmp_path, ()), Dataset(SuitePicture, tmp_path, ())) is None
