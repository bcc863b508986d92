"""The gallery: every run on a card, the newest first, kept when its results are gone."""

import re

import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

from data_contracts.run_card import read_card
from flows.commands.inspect_runs import clean_workspace, print_stage, print_status
from flows.main import app
from flows.reported_run import markdown
from flows.reports.gallery import cards_of, write_gallery
from flows.reports.report import write_report
from flows.reports.run_card import write_card
from tests.flows.compared_runs import end, finish_stack, stacked
from tests.flows.report_run import Workspace
from tests.flows.test_report import Page, noise
from tests.models.sheet_rows import evaluation_rows, lora_rows


@pytest.fixture
def place(tmp_path):
    """A workspace with a stack, a run that failed early, and one that goes on."""
    folder = tmp_path / "work"
    stack = Workspace(folder, 1)
    stack.finish("train_lora", lora_rows(tmp_path / "lora"), label="luca")
    pictures = evaluation_rows(tmp_path / "alone", judged=True)
    use = stack.finish("evaluate_lora", pictures, label="luca")
    (folder / use.key / "files").symlink_to(pictures.folder / "files")
    finish_stack(stack, stacked(tmp_path / "stack"))
    write_report(folder, stack.run, "harbour: all")
    write_card(folder, stack.run, "harbour: all")
    failed = Workspace(folder, 2)
    failed.finish("extract_frames", [], sheet=noise(1200, 900))
    failed.run.error = "segment_layers: nothing was kept <at all>"
    end(failed, "failed")
    end(Workspace(folder, 3), "running")
    return folder


def test_the_newest_run_comes_first_and_each_says_what_came_out(place):
    page = Page(write_gallery(place).read_text(encoding="utf-8"))
    names = ["20250103-120000-000000", "20250102-120000-000000", "20250101-120000-000000"]
    assert re.findall(r"\d{8}-120000-000000", page.text) == names
    for words in (
        "3 runs",
        "harbour: all",
        "Luca is found in 50% of the pictures with it, in 0% without it",
        "luca found 0% → 50%",
        "all found at once 100% of 12",
        "nothing was kept <at all>",
        "running",
    ):
        assert words in page.text
    assert not page.tags & {"script", "link", "iframe"}


def test_links_and_pictures_lead_to_files_beside_the_page_and_have_words(place):
    compared = place / "reports" / "20250102-120000-000000" / "compared-with-20250101-120000-000000.html"
    compared.parent.mkdir()
    compared.write_text("a page")
    path = write_gallery(place)
    page = Page(path.read_text(encoding="utf-8"))
    assert [(place / link).is_file() for link in page.links] == [True, True]
    assert "Compared with 20250101-120000-000000" in page.text
    assert [image["alt"] for image in page.images] == [
        "Run 20250102-120000-000000: contact sheet of Extract frames",
        "Run 20250101-120000-000000: all LoRAs stacked, from several seeds",
    ]
    for image in page.images:
        assert Image.open(place / image["src"]).format == "JPEG"
        assert (place / image["src"]).stat().st_size < 60_000
    assert path.read_text().count("<figcaption>") == 2
    assert path.stat().st_size < 50_000


def test_prefect_shows_a_run_as_words_figures_and_a_picture_and_names_its_pages(place):
    (card,) = [each for each in cards_of(place) if each.title == "harbour: all"]
    report = place / "reports" / card.run / "report.html"
    lines = markdown(card, report, place / "gallery.html").splitlines()
    assert lines[0] == "## harbour: all"
    assert "* Luca is found in 50% of the pictures with it, in 0% without it" in lines
    assert "| all found at once | 100% of 12 |" in lines
    assert f"| report | `{report}` |" in lines
    assert lines[-1].startswith("![all LoRAs stacked, from several seeds](data:image/jpeg;base64,")
    (failed,) = [each for each in cards_of(place) if each.state == "failed"]
    assert "**failed:** segment_layers: nothing was kept <at all>" in markdown(failed, report, report)


def test_paths_that_are_printed_can_be_typed_and_settings_be_read(place, capsys, monkeypatch):
    monkeypatch.chdir(place.parent.parent)
    run = Workspace(place, 4)
    use = run.finish("extract_frames", [], sheet=noise())
    end(run, "finished")
    write_gallery(place)
    print_stage(place, "extract_frames")
    print_status(place)
    lines = capsys.readouterr().out.splitlines()
    assert "  every_s: 0.5" in lines
    folder = place.relative_to(place.parent.parent)
    assert f"  contact sheet: {folder / use.key / 'sheet.jpg'}" in lines
    assert f"report: {folder / 'report.html'}" in lines


def test_status_tells_what_is_being_computed_from_what_was_interrupted(place, capsys):
    for stage in ("train_lora", "evaluate_lora"):
        (place / stage / "0" / "files").mkdir(parents=True)
    with FileLock(place / "train_lora" / "0" / ".lock"):
        print_status(place)
    lines = capsys.readouterr().out.splitlines()
    assert "being computed: train_lora, 0 shards done" in lines
    assert "unfinished: evaluate_lora, 0 shards done; a run goes on from there" in lines


def test_a_card_outlives_the_results_that_it_is_of(place):
    before = cards_of(place)
    for manifest in place.glob("*/*/manifest.json"):
        manifest.unlink()
    assert cards_of(place) == before


def test_a_run_that_goes_on_leaves_no_card(place):
    cards_of(place)
    assert not (place / "reports" / "20250103-120000-000000").exists()
    assert read_card(place / "reports" / "20250102-120000-000000") is not None


def test_a_card_of_another_version_is_made_anew(place):
    path = place / "reports" / "20250101-120000-000000" / "card.json"
    path.write_text('{"size": 3}')
    assert cards_of(place)[-1].figures["LoRAs"] == "1"
    assert '"size"' not in path.read_text()


def test_results_of_another_version_are_named(place, tmp_path):
    workspace = Workspace(place, 4)
    workspace.finish("train_lora", lora_rows(tmp_path / "lora"), facts={"record": "Evaluation"})
    end(workspace)
    (words,) = cards_of(place)[0].words
    assert words == "another version of reel2lora wrote the results of train_lora, which are left out"


def test_the_page_follows_what_is_deleted(place):
    page = write_gallery(place)
    clean_workspace(place, keep_last=True)
    assert "1 run," in Page(page.read_text()).text
    clean_workspace(place, keep_last=False)
    assert "No run yet" in Page(page.read_text()).text


def test_the_command_lists_the_runs_and_says_where_the_page_is(place, allowed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    config = allowed / "project.yaml"
    config.write_text("name: harbour\nworkspace: work\n")
    result = CliRunner().invoke(app, ["gallery", str(config)])
    assert result.exit_code == 0, result.output
    assert re.search(r"20250101-120000-000000 │ harbour: all +│ finished +│ 1 +│ 100% of 12", result.output)
    assert "gallery.html" in result.output
