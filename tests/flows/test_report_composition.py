"""The composition test in the report: its figure and verdicts, and the recommended weights or why there are none."""

import shutil

import pytest

from data_contracts.composition import Composition
from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.results import LoraFile, LoraWeight, WeightTrial
from flows.reports.report import write_report
from models.sheets import characters_sheet, stacking_sheet
from models.sheets.composition import in_words, interference_figure, shade
from models.sheets.drawing import BLUE, FAINT, ORANGE
from tasks.compare_stacking import write_ways
from tasks.compose_characters import write_characters
from tasks.composition_summary import composition_of, write_composition
from tests.flows.report_run import Workspace
from tests.flows.test_report import Page
from tests.models.sheet_rows import characters_rows, stack_rows, way_rows
from tests.tasks.two_loras import loras_in

NAMES = ("luca", "run", "happy")
GIVEN = {"luca": 1.0, "run": 0.8, "happy": 0.6}


def trials(folder) -> Dataset[WeightTrial]:
    def trial(number: int, weight: float, scores: tuple[float, ...]) -> WeightTrial:
        return WeightTrial(
            id=f"trial:{number:03}", origin="proposed", weights=tuple(LoraWeight(lora=n, weight=weight) for n in NAMES),
            seeds=(11, 12), scores=scores, score=sum(scores) / 2, found=(1.0,) * 3, best_in=float(number),
            recommended=bool(number),
        )  # fmt: skip

    return Dataset(WeightTrial, folder, [trial(0, 0.7, (0.1, 0.2)), trial(1, 0.9, (0.3, 0.4))])


def composition(folder, *, judged=True, search: Dataset[WeightTrial] | str = "") -> Composition:
    rows = stack_rows(folder / "rows", NAMES, tuple(range(1, 9)), judged=judged).rows
    given = [
        row.model_copy(update={"id": f"{row.id}:given", "variant": "given"}) for row in rows if row.variant == "base"
    ]
    return composition_of([*rows, *(given if not isinstance(search, str) else ())], GIVEN, {}, search)


def report_of(folder, numbers: Composition) -> Page:
    workspace = Workspace(folder / "work")
    use = workspace.finish("compose_loras", stack_rows(folder / "rows", NAMES, (1, 2), judged=True))
    write_composition(workspace.folder / use.key, numbers)
    return Page(write_report(workspace.folder, workspace.run, "t").read_text())


def test_the_report_shows_who_disturbs_whom_and_what_is_recommended(tmp_path):
    page = report_of(tmp_path, composition(tmp_path, search=trials(tmp_path)))
    (image,) = page.images
    assert image["alt"].startswith("Heat map of what adding each LoRA to the others does")
    assert "run changes luca by +0.00" in image["alt"]
    for words in (
        "Luca adds 0.80 to its own score in the stack.",
        "the best of 2 sets on 2 seeds",
        "luca 1 0.9 0.9 to 0.9",
        "Luca 0.9, run 0.9, happy 0.9 does better than the given weights, on seeds that the search has not seen",
    ):
        assert words.lower() in page.text.lower()


def test_the_report_says_why_nothing_was_searched(tmp_path):
    page = report_of(tmp_path, composition(tmp_path, search="search_weights.trials is 0"))
    assert "No stacking weights were searched for: search_weights.trials is 0." in page.text
    assert "the best of" not in page.text


def test_unjudged_pictures_have_no_figure_and_no_verdict(tmp_path):
    numbers = composition(tmp_path, judged=False)
    assert (numbers.judged, numbers.effects, numbers.verdicts) == ((), (), ())
    assert interference_figure(numbers) is None
    assert report_of(tmp_path, numbers).images == []


def test_the_report_shows_who_is_seen_where(tmp_path):
    workspace = Workspace(tmp_path / "work")
    rows = characters_rows(tmp_path / "rows", tuple(range(1, 9)))
    use = workspace.finish("compose_characters", rows, sheet=characters_sheet(rows))
    write_characters(workspace.folder / use.key, rows.rows, ["luca", "gia"])
    page = Page(write_report(workspace.folder, workspace.run, "t").read_text())
    (image,) = page.images  # at the top, not at its stage again
    assert image["alt"].startswith(
        "luca and gia in one picture: a row for each seed, a column for each of summed, regi"
    )
    for words in (
        "luca and gia in one picture",
        "in which luca and gia are found by world-probe in their own regions: summed 0%, regional prompts 100%.",
        "Regional prompts: tells them apart better than the sum, by +0.70 (found by world-probe).",
        "regional prompts found by world-probe 0.80 0.10 +0.70 100%",
        "summed found by world-probe 0.40 0.40",
        "Its pictures are at the top.",
    ):
        assert words in page.text


def report_of_stack(folder, loras: dict[str, Dataset[LoraFile]]) -> Page:
    workspace = Workspace(folder / "work")
    for name, each in loras.items():
        use = workspace.finish("train_lora", each, label=name)
        shutil.copytree(each.folder / "files", workspace.folder / use.key / "files", dirs_exist_ok=True)
    workspace.finish("compose_loras", stack_rows(folder / "rows", ("luca", "portorosso"), (1, 2)))
    return Page(write_report(workspace.folder, workspace.run, "t").read_text())


def test_the_report_has_the_stack_s_prompt_for_other_programs(tmp_path):
    loras = {each.rows[0].name: each for each in loras_in(tmp_path / "loras")}
    called = "a film still, luca boy, running, in portorosso <lora:luca:0.8> <lora:portorosso:0.8>"
    assert called in report_of_stack(tmp_path / "whole", loras).text
    assert "<lora:" not in report_of_stack(tmp_path / "part", {"luca": loras["luca"]}).text
    flux = {
        name: Dataset(LoraFile, each.folder, [row.model_copy(update={"family": "flux"}) for row in each])
        for name, each in loras.items()
    }
    assert "<lora:" not in report_of_stack(tmp_path / "flux", flux).text


@pytest.mark.parametrize("judged", [True, False])
def test_the_report_shows_the_ways_of_stacking(tmp_path, judged):
    workspace = Workspace(tmp_path / "work")
    rows = way_rows(tmp_path / "rows", NAMES, tuple(range(1, 9)), judged=judged)
    use = workspace.finish("compare_stacking", rows, sheet=stacking_sheet(rows))
    variant = Variant(name="blocks", weights=GIVEN, blocks={"luca": {"inner": 0.5}})
    write_ways(workspace.folder / use.key, rows.rows, {"blocks": variant}, {"merged": "luca is a DoRA"}, None)
    page = Page(write_report(workspace.folder, workspace.run, "t").read_text())
    (image,) = page.images  # at the top, not at its stage again
    assert image["alt"].startswith("All LoRAs stacked: a row for each seed, a column for each of summed, LoRA Switch")
    assert "Merged into one file was left out: luca is a DoRA." in page.text
    assert ("Nobody judged which way is best: it needs a judge" in page.text) is not judged
    if judged:
        assert "LoRA Switch: worse than the sum at the same weights, by -0.57" in page.text
        assert "Chance may be all that tells block weights from the sum" in page.text
        assert "block weights luca 1 (inner 0.5), run 0.8, happy 0.6 100% 100% 50% 50% 0.67 +0.00" in page.text
        assert "LoRA Switch luca 1, run 0.8, happy 0.6 0% 0% 0% 0%" in page.text


def test_characters_that_nobody_measured_are_shown_without_figures(tmp_path):
    workspace = Workspace(tmp_path / "work")
    rows = characters_rows(tmp_path / "rows", (1, 2), measured=False)
    use = workspace.finish("compose_characters", rows, sheet=characters_sheet(rows))
    write_characters(workspace.folder / use.key, rows.rows, ["luca", "gia"])
    page = Page(write_report(workspace.folder, workspace.run, "t").read_text())
    assert "Nobody measured who is seen where: it needs a judge" in page.text
    assert "Nothing was measured" in (workspace.folder / use.key / "characters.md").read_text()


def test_a_result_of_an_older_version_is_reported_without_it(tmp_path):
    workspace = Workspace(tmp_path / "work")
    workspace.finish("compose_loras", stack_rows(tmp_path / "rows", NAMES, (1, 2)))
    assert "searched" not in Page(write_report(workspace.folder, workspace.run, "t").read_text()).text


def test_the_figure_has_a_row_for_each_score_and_a_column_for_each_lora(tmp_path):
    numbers = composition(tmp_path)
    figure = interference_figure(numbers)
    fewer = interference_figure(numbers.model_copy(update={"judged": NAMES[:2], "effects": numbers.effects[:8]}))
    assert figure.height > fewer.height
    assert figure.size[0] >= 1200
    colours = {colour for _, colour in figure.getcolors(1 << 20)}
    assert shade(1.0) == BLUE
    assert shade(-1.0) == ORANGE
    assert shade(0.0) == FAINT
    assert {shade(each.change.mean) for each in numbers.effects if each.where == "stack"} <= colours
    assert len(in_words(numbers).split(", ")) == 6


@pytest.mark.parametrize("change", [-0.7, 0.7])
def test_the_stronger_a_change_the_further_its_colour_is_from_none(change):
    def distance(value: float) -> int:
        return sum(abs(a - b) for a, b in zip(shade(value), FAINT, strict=True))

    assert distance(0) < distance(change / 2) < distance(change)
