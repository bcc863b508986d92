"""`reel2lora export`: the newest data set of a LoRA in another trainer's format, or why not."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_contracts.exports import items_of
from data_contracts.faults import InputFault
from data_contracts.records import Example, Facets
from flows.commands.trace import latest_examples
from flows.main import app
from models.exports import FORMATS
from models.exports.folder import check_same, read_export
from models.pictures import keep_picture
from tasks.run_record import RunRecord, StageUse
from tests.finished_stage import finish_stage

SIDE = 64


def finish(workspace: Path, stage: str, rows: list[Example], config: dict) -> StageUse:
    """Write a finished result as a stage would."""
    folder = finish_stage(workspace / stage / "0123456789abcdef", rows, config=config)
    return StageUse(stage=stage, label="luca", digest=folder.name, parents=(), reused=False, seconds=1.0)


def examples(files: Path, caption: str) -> list[Example]:
    rows = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        weight = np.zeros((SIDE, SIDE), np.uint8)
        weight[number : number + 20, 10:30] = 255
        where = {"film": "harbour", "shot": f"harbour:s{number:04}", "frame": number, "time_s": number / 6}
        files_of = {"image": keep_picture(files, pixels), "mask": keep_picture(files, weight)}
        rows.append(
            Example(
                id=f"harbour:{number:06}:t00:body:example",
                **where,
                **files_of,
                source_id=f"harbour:{number:06}:t00",
                box=(0, 0, SIDE, SIDE),
                facets=Facets(size="full"),
                caption=caption,
                tokens=9,
                repeats=10,
                split="held_out" if number == 3 else "train",
                sharpness=1.0,
            )
        )
    return rows


def run_with(folder: Path, caption: str = "luca, the boy, 3d animation, running") -> Path:
    """Write a project and the results of a run of it; return the project's file."""
    project = folder / "film.yaml"
    project.write_text("name: film\nworkspace: work\nloras: {luca: {type: character}}\n", encoding="utf-8")
    workspace = folder / "work"
    files = workspace / "assemble_dataset" / "0123456789abcdef" / "files"
    files.mkdir(parents=True)
    uses = [
        finish(workspace, "caption_images", [], {"trigger": "luca, the boy"}),
        finish(workspace, "assemble_dataset", examples(files, caption), {"resolution": SIDE, "repeats": 10}),
    ]
    RunRecord(name="20260101-000000", project="film", started_at="2026-01-01", stages=uses).save(workspace)
    return project


def run(*arguments: str):
    return CliRunner().invoke(app, ["export", *arguments])


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, InputFault), (result.exception, result.output)
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.mark.parametrize("to", list(FORMATS))
def test_a_data_set_is_exported_from_the_command_line(to, tmp_path):
    project = run_with(tmp_path)
    result = run(str(project), "luca", "--to", to)
    assert result.exit_code == 0, (result.exception, result.output)
    assert f"luca-{to}" in result.output
    made = latest_examples(tmp_path / "work", "luca")
    back = read_export(tmp_path / "work" / "exports" / f"luca-{to}")
    check_same(items_of(made.folder / "files", made), back)
    assert sorted(each.split for each in back) == ["held_out", "train", "train", "train"]


def test_out_names_the_folder_and_the_trigger_counts_its_clauses(tmp_path):
    project = run_with(tmp_path)
    assert run(str(project), "luca", "--to", "kohya", "--out", str(tmp_path / "a" / "b")).exit_code == 0
    text = (tmp_path / "a" / "b" / "dataset.toml").read_text()
    assert "keep_tokens = 2" in text
    assert f"resolution = {SIDE}" in text
    assert "--output_name luca" in (tmp_path / "a" / "b" / "README.txt").read_text()


def test_what_cannot_be_exported_is_said_with_the_remedy(tmp_path):
    project = run_with(tmp_path)
    assert "kohya, diffusers" in refused(str(project), "luca", "--to", "dreambooth")
    assert "reel2lora run CONFIG --lora gia" in refused(str(project), "gia", "--to", "kohya")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "mine is there and is no export" in refused(
        str(project), "luca", "--to", "kohya", "--out", str(tmp_path / "mine")
    )
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    for manifest in (tmp_path / "work").glob("caption_images/*/manifest.json"):
        manifest.unlink()
    assert "are gone" in refused(str(project), "luca", "--to", "kohya")
    assert not (tmp_path / "work" / "exports").exists()


def test_a_caption_that_trainers_would_cut_is_named(tmp_path):
    project = run_with(tmp_path, "luca, running,\non the beach")
    message = refused(str(project), "luca", "--to", "kohya")
    assert "harbour:000000:t00:body:example: the caption" in message
    assert "line break" in message
