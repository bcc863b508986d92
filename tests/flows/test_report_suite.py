"""An evaluation suite in the report: its sentences, its table and its sheet stand at the top."""

import pytest

from flows.comparison.compare_runs import compare_runs
from flows.reports.report import write_report
from tasks.run_record import latest_runs
from tests.flows.compared_runs import both, finish_stack, stacked
from tests.flows.report_run import Workspace
from tests.flows.test_compare import suite
from tests.flows.test_report import Page, noise


@pytest.fixture
def place(tmp_path):
    suite(tmp_path / "work", tmp_path, 1, copies=False, like=0.5)
    return tmp_path / "work"


def test_what_the_suite_says_comes_before_the_stages(place):
    (run,) = latest_runs(place)
    (use,) = [each for each in run.stages if each.stage == "evaluate_suite"]
    noise().save(place / use.key / "sheet.jpg", format="JPEG")
    page = Page(write_report(place, run, "harbour: evaluation of luca").read_text())
    for words in (
        "Evaluation of luca",
        "Strength 1, against the base: likeness by colour 0.600, not 0.590; copying none.",
        "all 1 10 0.600 (+0.010) 0% (+0)",
        "Its pictures are at the top.",
    ):
        assert words in page.text
    assert page.text.index("Evaluation of luca") < page.text.index("Stages")
    assert [image["alt"] for image in page.images] == [
        "Prompts of the suite by category: the same seed without luca and with it"
    ]


def test_what_only_one_run_has_is_named_as_a_whole_where_it_is_missing_as_a_whole(place, tmp_path):
    first = next(iter(latest_runs(place)))
    for day in (1, 2):
        workspace = Workspace(place, day)
        workspace.run.stages += first.stages if day == 1 else []
        finish_stack(workspace, stacked(tmp_path / f"stack{day}"))
    numbers = compare_runs(*both(place)).numbers
    assert f"only {first.name} has: luca in the suite" in numbers.notes
    assert not [note for note in numbers.notes if "name a judge" in note]  # all that both have is the same
