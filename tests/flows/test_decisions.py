"""Captions and rejections made by hand are found, kept, checked and taken back."""

import csv
from pathlib import Path

import pytest

from data_contracts.dataset import Dataset
from data_contracts.decisions import read_decisions
from data_contracts.faults import InputFault
from data_contracts.project import Project
from data_contracts.project_file import load_project
from data_contracts.records import Caption, Example, Frame, Layer
from flows.commands.decisions import collect_decisions, decisions_of, edit_dataset, table_file, write_table
from flows.commands.trace import latest_examples
from tasks.assemble_dataset import assemble_dataset
from tasks.run_record import labelled, recorded_run
from tests.models.sheet_rows import Rows
from tests.small_project import CONFIG


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Rows:
    return Rows(tmp_path_factory.mktemp("rows"), every=24)


@pytest.fixture
def project(tmp_path, rows) -> Project:
    """Return a project whose luca has a data set."""
    project = load_project(CONFIG, {"workspace": str(tmp_path / "work"), "loras.luca.dataset.resolution": "64"})
    assemble(project, rows)
    return project


def assemble(project: Project, rows: Rows) -> Dataset[Example]:
    """Do what a run does for luca's data set."""
    inputs = (rows.of(Caption), rows.of(Frame), rows.of(Layer), None, decisions_of(project, "luca"))
    with recorded_run(project.workspace, project.name), labelled("luca"):
        return assemble_dataset(project.workspace, *inputs, project.loras["luca"].dataset)


def exported(examples: Dataset[Example], row: Example, ending: str) -> Path:
    (path,) = (examples.folder / "kohya").rglob(f"{Path(row.image).stem}-*.{ending}")
    return path


def edit_table(project: Project, change) -> None:
    """Let `change` go over the rows of the table, as a person would."""
    table = table_file(project.workspace, "luca")
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    change(lines)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def open_table(project: Project) -> Dataset[Example]:
    examples = latest_examples(project.workspace, "luca")
    assert examples is not None
    write_table(table_file(project.workspace, "luca"), examples, decisions_of(project, "luca"))
    return examples


def test_a_text_edited_and_a_picture_deleted_in_place_become_decisions(project, rows):
    examples = latest_examples(project.workspace, "luca")
    edited, deleted = examples.rows[0], examples.rows[1]
    exported(examples, edited, "txt").write_text("luca, my own words\n")
    exported(examples, deleted, "png").unlink()
    collect_decisions(project, "luca")
    kept = {each.verdict: each for each in decisions_of(project, "luca")}
    assert (kept["caption"].caption, kept["caption"].frame) == ("luca, my own words", edited.frame)
    assert kept["caption"].tokens > 3
    assert (kept["reject"].frame, kept["reject"].box) == (deleted.frame, deleted.box)

    again = assemble(project, rows)
    assert len(again) == len(examples) - 1
    (mine,) = again.where("edited", value=True)
    assert (mine.id, mine.caption) == (edited.id, "luca, my own words")


def test_the_data_set_that_was_edited_is_put_back(project):
    examples = latest_examples(project.workspace, "luca")
    text = exported(examples, examples.rows[0], "txt")
    before = text.read_text()
    text.write_text("other words")
    collect_decisions(project, "luca")
    assert text.read_text() == before
    collect_decisions(project, "luca")
    assert [each.caption for each in decisions_of(project, "luca")] == ["other words"]


def test_a_table_rewrites_rejects_and_takes_back(project, rows):
    open_table(project)

    def change(lines):
        lines[0]["caption"] = "luca, by hand"
        lines[1]["verdict"] = "reject"

    edit_table(project, change)
    collect_decisions(project, "luca")
    assert sorted(each.verdict for each in decisions_of(project, "luca")) == ["caption", "reject"]
    assert not table_file(project.workspace, "luca").exists()

    assemble(project, rows)
    open_table(project)

    def take_back(lines):
        (mine,) = (line for line in lines if line["caption"] == "luca, by hand")
        (refused,) = (line for line in lines if line["verdict"] == "reject")
        mine["caption"], refused["verdict"] = "", "keep"

    edit_table(project, take_back)
    collect_decisions(project, "luca")
    assert decisions_of(project, "luca") == ()


def test_nothing_changed_is_no_decision(project):
    open_table(project)
    collect_decisions(project, "luca")
    assert decisions_of(project, "luca") == ()


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("caption", "word " * 99, r"has \d+ tokens, 77 fit"),
        ("verdict", "maybe", "use keep or reject"),
        ("x0", "left", "the row is torn"),
    ],
)
def test_what_cannot_be_used_is_said_and_the_table_is_left_to_be_mended(project, column, value, fault):
    open_table(project)
    edit_table(project, lambda lines: lines[0].update({column: value}))
    with pytest.raises(InputFault, match=fault):
        collect_decisions(project, "luca")
    assert table_file(project.workspace, "luca").exists()
    assert decisions_of(project, "luca") == ()


def test_an_edited_copy_elsewhere_is_taken_over(project, tmp_path, capsys):
    examples = latest_examples(project.workspace, "luca")
    copy = tmp_path / "copy"
    (copy / "train").mkdir(parents=True)
    for path in (examples.folder / "kohya").rglob("*.[pt][nx][gt]"):
        (copy / "train" / path.name).write_bytes(path.read_bytes())
    (copy / "train" / exported(examples, examples.rows[2], "txt").name).write_text("luca, from elsewhere")
    edit_dataset(project, "luca", copy)
    kept = read_decisions(project.workspace / "decisions" / "luca.jsonl")
    assert [each.caption for each in kept] == ["luca, from elsewhere"]
    assert "1 captions by hand, 0 pictures turned down" in capsys.readouterr().out
