"""Two runs compared: what is paired, what is called better or worse, what differs, and what cannot be compared."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from data_contracts.comparison import Comparison
from data_contracts.dataset import Dataset
from data_contracts.faults import InputFault
from data_contracts.results import CopyCheck, Finding, LoraFile, Score, StackPicture, SuitePicture, SuiteScores
from data_contracts.validations import Validation
from flows.comparison.compare_runs import compare_runs, scores_of
from flows.comparison.find_run import find_run
from flows.comparison.paired_samples import PairedSample, pair
from flows.comparison.run_scores import Sample, Scored, better
from flows.main import app
from flows.reports.comparison import changed_most, write_comparison
from models.suite.summary import summarise, write_summary
from tests.flows.compared_runs import JUDGED, SEEDS, UNUSED, both, end, finish_stack, stacked
from tests.flows.report_run import Workspace
from tests.flows.test_report import Page
from tests.models.sheet_rows import evaluation_rows, stack_rows, validated_lora_rows


@pytest.fixture
def place(tmp_path):
    return tmp_path / "work"


def two(place, first, second, **facts):
    """Write two runs with these compositions; `facts` are of the second one's manifest."""
    finish_stack(Workspace(place, 1), first)
    finish_stack(Workspace(place, 2), second, **facts)
    return both(place)


def verdicts(numbers: Comparison) -> dict[tuple[str, str], str]:
    return {(score.variant, score.measure.partition(" by ")[0]): score.verdict for score in numbers.scores}


def test_a_lora_that_got_worse_is_told_from_one_that_did_not(place, tmp_path):
    numbers = compare_runs(*two(place, stacked(tmp_path / "a"), stacked(tmp_path / "b", luca=-0.3))).numbers
    found = verdicts(numbers)
    assert (
        found["only luca", "shows luca"] == found["all", "shows luca"] == found["without run", "shows luca"] == "worse"
    )
    assert found["all", "shows run"] == "no difference shown"
    assert numbers.same == ("the stack, only run", "the stack, without luca")
    assert found["all", "changed"] == "not judged"
    score = next(s for s in numbers.scores if (s.variant, s.measure) == ("all", "shows luca by world-probe"))
    assert (score.difference, score.pairs) == (-0.3, len(SEEDS))
    assert score.chance == pytest.approx(5 * 2 / 2 ** len(SEEDS))  # the least of five
    assert not [key for key in found if key[0] == "base" or key == ("without luca", "shows luca")]


def steady(rows: Dataset[StackPicture], probability) -> Dataset[StackPicture]:
    """Return the pictures with these probabilities, by seed, of all that is looked for."""
    found = (tuple(Finding(lora=f.lora, probability=probability(row.seed)) for f in row.findings) for row in rows)
    updated = (row.model_copy(update={"findings": each}) for row, each in zip(rows, found, strict=True))
    return Dataset(StackPicture, rows.folder, updated)


def test_a_difference_that_changes_its_sign_from_seed_to_seed_is_none(place, tmp_path):
    rows = stacked(tmp_path / "a")
    runs = two(place, steady(rows, lambda _: 0.5), steady(rows, lambda seed: 0.5 + 0.2 * (-1) ** seed))
    numbers = compare_runs(*runs).numbers
    assert numbers.count("no difference shown") == 7
    assert all(score.low < 0 < score.high for score in numbers.scores if score.chance is not None)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_other_way_round_better_is_worse(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 9)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shift = data.draw(st.sampled_from([0.0, 0.2, -0.4]))
    measures = ("shows luca by probe", "copies", "changed")

    def sample(by):
        pictures = {
            (f"p{n}", seed): Scored(dict.fromkeys(measures, float(rng.random() + by)))
            for n in range(shape[0])
            for seed in range(shape[1])
        }
        return Sample("luca alone", "with", pictures)

    a, b = sample(0), sample(shift)
    there, back = (list(scores_of([one])) for one in (pair(a, b), pair(b, a)))
    opposite = {"better": "worse", "worse": "better"}
    for score, mirrored in zip(there, back, strict=True):
        assert mirrored.difference == -score.difference
        assert mirrored.verdict == opposite.get(score.verdict, score.verdict)
        assert mirrored.chance == score.chance
        assert score.pairs == shape[0] * shape[1]
    likely, copies, changed = (score.verdict for score in there)
    assert copies == opposite.get(likely, likely)
    assert changed == "not judged"


def test_less_is_better_of_copies_and_losses_alone():
    assert [better(name) for name in ("copies", "held-out loss", "held-out loss (mean)")] == ["lower"] * 3
    high = ("shows luca by world-probe", "shows all by x", "likeness dinov2-base", "text clip-vit", "diversity")
    assert {better(name) for name in high} == {"higher"}
    assert {better(name) for name in ("sharpness", "changed", "copied", "training loss")} == {"neither"}


def test_seeds_that_only_one_run_has_are_left_out_and_said(place, tmp_path):
    first, second = stacked(tmp_path / "a"), stacked(tmp_path / "b", (*SEEDS[2:], 20), luca=0.2)
    numbers = compare_runs(*two(place, first, second)).numbers
    assert {score.pairs for score in numbers.scores} == {10}
    assert "the stack: 2 pictures of the first run and 1 of the second have no partner" in numbers.notes


def test_runs_without_a_seed_in_common_are_refused(place, tmp_path):
    runs = two(place, stacked(tmp_path / "a", (1, 2)), stacked(tmp_path / "b", (3, 4)))
    with pytest.raises(InputFault, match=r"paired: the stack: no seed in common: 1, 2 and 3, 4.*evaluate.seeds"):
        compare_runs(*runs)


def test_runs_without_a_lora_in_common_are_refused(place, tmp_path):
    first = Workspace(place, 1)
    first.finish("evaluate_lora", evaluation_rows(tmp_path / "a", judged=True), label="luca", facts=JUDGED)
    end(first)
    finish_stack(Workspace(place, 2), stacked(tmp_path / "b"))
    with pytest.raises(
        InputFault, match="no scored pictures of the same LoRAs: 20250101-120000-000000 has luca alone, with"
    ):
        compare_runs(*both(place))


def test_a_run_is_not_compared_with_itself(place, tmp_path):
    run, _ = two(place, stacked(tmp_path / "a"), stacked(tmp_path / "b"))
    with pytest.raises(InputFault, match="is compared with itself"):
        compare_runs(run, run)


def test_too_few_seeds_for_so_many_comparisons_are_said(place, tmp_path):
    numbers = compare_runs(
        *two(place, stacked(tmp_path / "a", (1, 2)), stacked(tmp_path / "b", (1, 2), luca=0.3))
    ).numbers
    assert numbers.count("better") == 0
    assert any(note.startswith("with 5 comparisons at least 8 seeds or prompts") for note in numbers.notes)


def test_prompts_that_a_trigger_made_others_are_paired_in_their_order(place, tmp_path):
    rows = stacked(tmp_path / "b", luca=0.2)
    other = [row.model_copy(update={"prompt": "a film still, loca boy"}) for row in rows]
    numbers = compare_runs(*two(place, stacked(tmp_path / "a"), Dataset(rows.record, rows.folder, other))).numbers
    assert verdicts(numbers)["all", "shows luca"] == "better"
    assert "the stack: the prompts' words differ; they are paired in their order" in numbers.notes


def test_the_same_pictures_are_not_compared(place, tmp_path):
    rows = stacked(tmp_path / "a")
    changed = [row.model_copy(update={"changed": 9.5}) if row.variant == "all" else row for row in rows]
    compared = compare_runs(*two(place, rows, Dataset(rows.record, rows.folder, changed)))
    assert {score.variant for score in compared.numbers.scores} == {"all"}
    assert "the stack, only luca" in compared.numbers.same


def test_scores_of_different_judges_are_not_paired(place, tmp_path):
    first, second = stacked(tmp_path / "a"), stacked(tmp_path / "b", luca=0.2)
    compared = compare_runs(*two(place, first, second, config={"judge": "another"}))
    assert {score.measure for score in compared.numbers.scores} == {"changed"}
    assert any("name a judge" in note for note in compared.numbers.notes)
    assert {kind: bool(shown) for kind, shown in changed_most(compared.samples).items()} == {
        "worse": False,
        "better": False,
        "changed": False,
    }  # fmt: skip  the very same pixels


def test_pictures_that_nobody_judged_are_shown_by_their_pixels(place, tmp_path):
    first, second = (stack_rows(tmp_path / name, ("luca", "run"), (1, 2)) for name in "ab")
    for row in second:
        Image.open(second.path(row.image)).rotate(90).save(second.path(f"turned-{row.image}"))
    turned = [row.model_copy(update={"image": f"turned-{row.image}"}) for row in second]
    runs = two(place, first, Dataset(second.record, second.folder, turned))
    shown = changed_most(compare_runs(*runs).samples)["changed"]
    assert shown
    assert [each.change for each in shown] == sorted((each.change for each in shown), reverse=True)
    assert shown[0].words.startswith("pixels differ by ")


def lora(folder, losses: tuple[float, ...], digest: str = "0" * 64) -> Dataset[LoraFile]:
    rows = validated_lora_rows(folder)
    line = Validation(step=300, held_out=losses).model_dump_json()
    (folder / "files" / "validation.jsonl").write_text(line + "\n")
    return Dataset(LoraFile, folder, [rows.rows[0].model_copy(update={"dataset_digest": digest})])


def trained(place, day: int, rows: Dataset[LoraFile], **facts) -> None:
    workspace = Workspace(place, day)
    use = workspace.finish("train_lora", rows, label="luca", facts=facts)
    (place / use.key / "files").symlink_to(rows.folder / "files")
    end(workspace)


def test_losses_on_the_same_held_out_pictures_are_pairs_and_less_is_better(place, tmp_path):
    losses = tuple(0.5 + n / 100 for n in range(10))
    trained(place, 1, lora(tmp_path / "a", losses))
    trained(place, 2, lora(tmp_path / "b", tuple(loss - 0.05 - n / 1000 for n, loss in enumerate(losses))))
    numbers = compare_runs(*both(place)).numbers
    (score,) = numbers.scores
    assert (score.of, score.variant, score.measure, score.pairs) == ("luca", "held-out pictures", "held-out loss", 10)
    assert score.verdict == "better"
    assert score.difference < 0
    assert {figure.figure for figure in numbers.figures} == {"training loss", "held-out loss (mean)"}


def test_losses_on_other_held_out_pictures_are_not(place, tmp_path):
    trained(place, 1, lora(tmp_path / "a", (0.5, 0.6)))
    trained(place, 2, lora(tmp_path / "b", (0.4, 0.5), "1" * 64))
    with pytest.raises(InputFault, match="luca: the runs' held-out pictures are not the same"):
        compare_runs(*both(place))


def suite(place, tmp_path, day: int, copies: bool, like: float) -> None:
    """Write a suite of ten prompts, one seed and strength 1, and the base's pictures."""
    workspace, folder = Workspace(place, day), tmp_path / f"suite{day}"
    data = {"record": "Example", "content_digest": str(day) * 64}
    workspace.finish("assemble_dataset", [], label="luca", facts=data)
    keys = [(f"luca, words {n}", strength) for n in range(10) for strength in (0.0, 1.0)]
    of = [{"category": "poses", "prompt": prompt, "seed": 1, "strength": strength} for prompt, strength in keys]
    image = evaluation_rows(folder).rows[0].image
    made = [SuitePicture(id=f"p{n}", image=image, **each) for n, each in enumerate(of)]
    copying = CopyCheck(nearest="x", to_training=0.1, to_held_out=0.9, is_copy=copies)
    measured = [(Score(measure="likeness colour", value=like + n / 100),) for n in range(len(of))]
    scores = [
        SuiteScores(id=f"s{n}", picture_id=f"p{n}", findings=(), scores=measured[n], copying=copying, **each)
        for n, each in enumerate(of)
    ]
    drawn = workspace.finish("draw_suite", Dataset(SuitePicture, folder, made), label="luca")
    (place / drawn.key / "files").symlink_to(folder / "files")
    use = workspace.finish("evaluate_suite", Dataset(SuiteScores, folder, scores), label="luca", parents=[drawn])
    write_summary(place / use.key, summarise("luca", scores, None, {}))
    end(workspace)


def test_the_suites_scores_are_paired_by_prompt_and_the_base_is_left_out(place, tmp_path):
    suite(place, tmp_path, 1, copies=False, like=0.5)
    suite(place, tmp_path, 2, copies=True, like=0.6)
    numbers = compare_runs(*both(place)).numbers
    assert "the data sets differ: likeness and copies are to each run's own pictures of the subject" in numbers.notes
    assert any("verdicts are of the 1 drawn seeds;" in note for note in numbers.notes)
    found = {score.measure: score for score in numbers.scores}
    assert {name: score.verdict for name, score in found.items()} == {"likeness colour": "better", "copies": "worse"}
    assert {score.variant for score in found.values()} == {"strength 1"}
    assert found["copies"].low is None


def test_what_differs_is_said_once_with_its_stages(place, tmp_path):
    ground = {"config": {"rank": 8, "words": "a" * 90 + "b"}, "inputs": {"base": "1" * 64, "examples": "2" * 64}}
    other = {"config": {"rank": 16, "words": "a" * 90 + "c"}, "inputs": {"base": "3" * 64, "examples": "4" * 64}}
    facts = [
        {**ground, "versions": {"torch": "2.8"}},
        {**other, "versions": {"torch": "2.9"}, "content_digest": "5" * 64},
    ]
    for day, fact in enumerate(facts, 1):
        workspace = Workspace(place, day)
        for label in ("luca", "happy"):
            workspace.finish("train_lora", lora(tmp_path / f"{day}{label}", (0.5, 0.6)), label=label, facts=fact)
        finish_stack(workspace, stacked(tmp_path / f"s{day}", luca=day / 10))
    numbers = compare_runs(*both(place)).numbers
    found = {(each.kind, each.what): each for each in numbers.differences}
    stages = ("Train LoRA: luca", "Train LoRA: happy")
    assert list(found) == [("setting", "rank"), ("setting", "words"), ("input", "base model"), ("software", "torch"),
                           ("result", "LoRA weights")]  # fmt: skip
    assert all(each.stages == stages for each in found.values())
    assert (found["setting", "rank"].a, found["setting", "rank"].b) == ("8", "16")
    assert found["setting", "words"].a.endswith("ab")
    assert found["input", "base model"].a == "1" * 10
    assert "the base models differ: scores are of base and LoRAs together" in numbers.notes


def test_a_result_that_is_gone_is_said(place, tmp_path):
    first = Workspace(place, 1)
    gone = first.finish("extract_frames", [])
    finish_stack(first, stacked(tmp_path / "a"))
    second = Workspace(place, 2)
    second.finish("extract_frames", [])
    finish_stack(second, stacked(tmp_path / "b", luca=0.1))
    (place / gone.key / "manifest.json").unlink()
    (found,) = [each for each in compare_runs(*both(place)).numbers.differences if each.what == "the result"]
    assert (found.a, found.stages) == ("deleted since", ("Extract frames",))


def test_a_run_is_found_by_what_is_typed(place, tmp_path):
    a, b = two(place, stacked(tmp_path / "a"), stacked(tmp_path / "b"))
    assert (a.record.name, b.record.name) == ("20250101-120000-000000", "20250102-120000-000000")
    assert find_run(f"{place}:20250102", UNUSED).record.name == b.record.name
    with pytest.raises(InputFault, match="2 runs begin so; give one of: 20250102-120000-000000, 20250101"):
        find_run(f"{place}:2025", UNUSED)
    with pytest.raises(InputFault, match="has no such run; give one of"):
        find_run(f"{place}:latest~2", UNUSED)
    with pytest.raises(InputFault, match="the folder is no workspace"):
        find_run(f"{tmp_path}:latest", UNUSED)
    with pytest.raises(InputFault, match=r"none.yaml: there is no such file"):
        find_run("latest", UNUSED)


def test_the_command_prints_writes_numbers_and_a_page(place, tmp_path, monkeypatch):
    two(place, stacked(tmp_path / "a"), stacked(tmp_path / "b", luca=-0.3), config={"judge": "world-probe", "steps": 9})
    monkeypatch.setenv("COLUMNS", "200")
    names = [f"{place}:latest~1", f"{place}:latest"]
    result = CliRunner().invoke(app, ["compare", *names, "--json", str(tmp_path / "numbers.json")])
    assert result.exit_code == 0, result.output
    assert "steps: 25 → 9  (Compose LoRAs)" in result.output
    assert "B: of 5 scores, 0 better, 4 worse, 1 no difference shown" in result.output
    numbers = Comparison.model_validate_json((tmp_path / "numbers.json").read_text())
    assert numbers.count("worse") == 4
    path = place / "reports" / "20250102-120000-000000" / "compared-with-20250101-120000-000000.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert "Pictures that lost most" in page.text
    assert "Pictures that gained most" not in page.text
    result = CliRunner().invoke(app, ["compare", *names[:1], *names[:1]])
    assert isinstance(result.exception, InputFault)
    assert result.exception.exit_code == 2


def test_the_page_is_one_file_with_words_for_every_picture(place, tmp_path):
    numbers = two(place, stacked(tmp_path / "a"), stacked(tmp_path / "b", luca=-0.3, run=0.2))
    path = write_comparison(compare_runs(*numbers), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path.stat().st_size < 15_000_000
    assert not page.tags & {"script", "link", "iframe"}
    assert "http" not in re.sub(r"data:[^\"]+", "", text)
    assert len(page.images) == text.count("<figcaption>") >= 20
    assert all(re.match("Run [AB]: the stack, .+, seed .+, prompt", image["alt"]) for image in page.images)
    assert "Pictures that gained most" in page.text


def test_words_of_a_run_cannot_become_markup(place, tmp_path):
    rows = stacked(tmp_path / "b", luca=0.3)
    evil = [row.model_copy(update={"prompt": '"><script>alert(1)</script>'}) for row in rows]
    runs = two(place, stacked(tmp_path / "a"), Dataset(rows.record, rows.folder, evil), config={"x": "<script>"})
    page = write_comparison(compare_runs(*runs), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "script" not in Page(page).tags


def test_measures_are_those_of_every_picture():
    scores = {("p", n): Scored({"sharpness": 1.0} | ({"copies": 0.0} if n else {})) for n in range(2)}
    found = pair(Sample("luca alone", "with", scores), Sample("luca alone", "with", scores))
    assert isinstance(found, PairedSample)
    assert found.measures == ("sharpness",)
