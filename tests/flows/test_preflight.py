"""`lint` and `preflight` name every fault in one table, and exit with 2 if one of them is an error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_contracts.check_faults import Fault, refuse_errors
from data_contracts.digest import content_of
from data_contracts.faults import InputFault
from data_contracts.project import LoraPlan
from data_contracts.project_file import load_project
from flows.base_model import base_model
from flows.checks.assembled import assembled_faults, assembled_folder
from flows.checks.fault_table import fault_table
from flows.checks.memory_faults import base_faults, memory_faults, speed_faults, trainer_faults
from flows.checks.preflight import preflight
from flows.checks.project_lint import word_faults
from flows.main import app
from models.diffusion.memory import Machine, Need
from tasks.run_record import RunRecord, StageUse
from tests.finished_stage import finish_stage
from tests.models.broken_folders import Sample, good_folder
from tests.models.ldm_checkpoint import write_checkpoint
from tests.random_base import make_random_base
from tests.small_project import CONFIG, ROOT, small_project


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "240"})


@pytest.fixture
def data_set(tmp_path) -> Path:
    return good_folder(tmp_path / "set")


@pytest.fixture
def project(allowed) -> dict[str, str]:
    return small_project(allowed / "work")


def set_options(changes: dict[str, str]) -> list[str]:
    return [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]


def words(**changes: str) -> dict[str, list[str]]:
    """Return the faults of the sample project's words by rule."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    project = load_project(CONFIG, named)
    found: dict[str, list[str]] = {}
    for fault in word_faults(project, base_model(project), list(project.loras)):
        found.setdefault(f"{fault.severity} {fault.rule}", []).append(str(fault))
    return found


def test_a_sound_folder_is_linted_and_passes(data_set, tmp_path):
    result = run("lint", str(data_set), "--trigger", "luca", "--type", "character", "--json", str(tmp_path / "f.json"))
    assert result.exit_code == 0, result.output
    assert "set: 0 errors and 0 warnings" in result.output
    assert json.loads((tmp_path / "f.json").read_text()) == []


def test_faults_are_grouped_by_rule_and_written(data_set, tmp_path):
    for name in "abc":
        Sample(data_set, name).says(f"luca, [red] hair, at the {name}")
    (data_set / "masks" / "b.png").unlink()
    result = run("lint", str(data_set), "--trigger", "luca", "--type", "character", "--json", str(tmp_path / "f.json"))
    assert isinstance(result.exception, InputFault)
    assert result.exception.exit_code == 2
    assert "set: 4 errors and 0 warnings" in str(result.exception)
    assert result.output.count("denied_word") == 1
    assert "a.txt: 'hair' in '[red] hair'" in result.output
    assert "drop the clause" in result.output
    rows = [Fault.model_validate(row) for row in json.loads((tmp_path / "f.json").read_text())]
    assert [(row.rule, row.place) for row in rows] == [
        ("denied_word", "a.txt"), ("denied_word", "b.txt"), ("denied_word", "c.txt"), ("missing_mask", "b.png"),
    ]  # fmt: skip


def test_without_a_type_captions_may_say_anything(data_set):
    Sample(data_set, "a").says("luca, brown hair")
    assert run("lint", str(data_set), "--trigger", "luca").exit_code == 0
    assert isinstance(run("lint", str(data_set), "--type", "charakter").exception, InputFault)


def test_tokens_are_counted_with_the_tokenizer_of_a_base_or_clips_own(data_set):
    Sample(data_set, "a").says("luca, " + "under the bridge " * 30)
    base = str(ROOT / "models/diffusion/lite_base/weights")
    for options in ((), ("--base", base), ("--base", f"{base}/tokenizer")):
        result = run("lint", str(data_set), *options)
        assert "tokens, 77 are read" in result.output
        assert result.exception is not None
    assert run("lint", str(data_set), "--tokens", "225").exit_code == 0
    assert "its tokenizer cannot be read" in str(run("lint", str(data_set), "--base", str(data_set)).exception)


def test_the_exit_code_of_the_command_line(data_set):
    (data_set / "b.png").write_bytes(b"")
    command = [sys.executable, "-m", "flows.main", "lint", str(data_set)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 2
    assert "zero_bytes" in child.stdout
    assert child.stderr.strip() == "reel2lora: set: 1 error and 0 warnings; what to do about them is in the table"


def test_a_sound_project_is_ready(project):
    result = run("preflight", str(CONFIG), *set_options(project))
    assert result.exit_code == 0, result.output
    assert "ready: luca, portorosso, running, happy; training takes about 0." in result.output
    assert "MB of disk" in result.output
    assert "warning" not in result.output


def test_all_faults_of_a_project_are_in_one_table(project, allowed):
    (allowed / "luca.png").write_bytes(b"GIF89a but not really")
    changes = {
        **project,
        "characters.luca.references": f"[{allowed}/luca.png]",
        "segment_layers.backend": "magic",
        "loras.luca.prefix": "3d animation without outlines",
        "loras.happy.trigger": "luca",
        "loras.luca.train.rank": "1024",
        "loras.luca.train.resolution": "2048",
        "loras.luca.train.batch": "256",
    }
    result = run("preflight", str(CONFIG), *set_options(changes), "--json", str(allowed / "faults.json"))
    assert isinstance(result.exception, InputFault)
    assert result.exception.exit_code == 2
    rows = {(row["rule"], row["place"]) for row in json.loads((allowed / "faults.json").read_text())}
    assert {
        ("characters", "characters.luca.references"), ("segment_layers", "segment_layers.backend"),
        ("negation", "loras.luca.prefix"), ("same_trigger", "loras.happy.trigger"), ("memory", "loras.luca.train"),
    } <= rows  # fmt: skip
    assert "what to do" in result.output
    assert "ready" not in result.output


def test_a_project_file_that_cannot_be_read_is_a_table_too(project):
    result = run("preflight", str(CONFIG), "--set", "colour=red", "--set", "segment_layers.min_side=-1")
    assert isinstance(result.exception, InputFault)
    assert "2 errors" in str(result.exception)
    assert "unknown key" in result.output
    assert "min_side" in result.output


def test_the_same_check_stands_before_a_run(project):
    loaded = load_project(CONFIG, {**project, "loras.happy.trigger": "luca"})
    with pytest.raises(InputFault, match=r"loras\.happy\.trigger: 'luca' is the trigger of 'luca' too: give each"):
        preflight(loaded, list(loaded.loras))


def test_warnings_do_not_stand_in_the_way(project):
    loaded = load_project(CONFIG, {**project, "loras.luca.trigger": "rose"})
    assert [fault.rule for fault in preflight(loaded, list(loaded.loras))] == ["common_trigger"]
    warning = Fault(place="x", rule="y", value="z", severity="warning")
    refuse_errors([warning])
    with pytest.raises(InputFault, match="x: z"):
        refuse_errors([warning, warning.model_copy(update={"severity": "error"})])


def test_words_of_a_sound_project():
    assert words() == {}


def test_triggers_that_share_words():
    found = words(loras__luca__trigger="luca paguro", loras__portorosso__trigger="luca")
    (fault,) = found["warning nested_trigger"]
    assert fault.startswith("loras.portorosso.trigger: 'luca paguro' of 'luca' and 'luca'")


@pytest.mark.parametrize(
    ("prefix", "rule"),
    [
        ("3d animated background, no characters", "error negation"),
        ("a background with people", "error denied_word"),
        ("a background, soft light", "warning lighting_word"),
        ("a background of luca", "error other_trigger"),
    ],
)
def test_a_prefix_that_says_too_much(prefix, rule):
    (fault,) = words(loras__portorosso__prefix=prefix)[rule]
    assert fault.startswith("loras.portorosso.prefix: ")


def test_a_prefix_that_leaves_no_room():
    assert "error long_prefix" in words(loras__luca__prefix="under the bridge " * 40)
    assert "warning long_prefix" in words(loras__luca__prefix="under the bridge " * 14)


def test_a_trigger_in_a_description():
    found = words(characters__luca__described_as="luca the boy")["error trigger_in_description"]
    assert [fault.split(": ")[0] for fault in found] == ["characters.luca.described_as"] * 2
    assert "said in the captions of 'running'" in found[0]
    # A character's own captions never describe characters, and a name that is no trigger may be said.
    assert words(characters__gia__described_as="gia") == {}


def test_a_description_that_would_be_left_out():
    (fault,) = words(places__beach__described_as="a beach with running dogs")["warning description_left_out"]
    assert fault.startswith("places.beach.described_as: ")
    assert "the captions of 'running'" in fault


@pytest.mark.parametrize("trigger", ["rose", "boy", "beach"])
def test_a_trigger_that_the_base_knows(trigger):
    assert "warning common_trigger" in words(loras__luca__trigger=trigger)


def test_a_base_that_the_trainer_does_not_know(tmp_path):
    (fault,) = base_faults(tmp_path)
    assert (fault.place, fault.severity) == ("base", "error")
    assert "no model_index.json" in fault.value
    for text in ("{", "[]", "{}"):
        (tmp_path / "model_index.json").write_text(text)
        assert base_faults(tmp_path) == [fault]
    (tmp_path / "model_index.json").write_text('{"_class_name": "AudioPipeline"}')
    (fault,) = base_faults(tmp_path)
    assert "AudioPipeline" in fault.value
    assert str(tmp_path) not in str(fault)
    assert base_faults(base_model(load_project(CONFIG))) == []


@pytest.mark.parametrize(
    ("here", "severities"),
    [
        (Machine(64, 60, "a GPU", 16, 15), []),
        (Machine(64, 60, "a GPU", 16, 4), ["warning"]),
        (Machine(64, 60, "a GPU", 4, 4), ["error"]),
        (Machine(4, 2, "a GPU", 16, 15), ["error"]),
        (Machine(64, 3, "a GPU", 4, 4), ["error", "warning"]),
        (Machine(16, 12), []),
        (Machine(6, 5), []),
        (Machine(5.5, 5), ["error"]),
    ],
)
def test_memory_that_is_there_or_not(here, severities):
    need = Need(device=6, host=5) if here.gpu else Need(device=5, host=5) if here.host != 5.5 else Need(6, 6)
    faults = memory_faults({"luca": need}, here)
    assert [fault.severity for fault in faults] == severities
    assert all("training takes about" in fault.value and "gradient_checkpointing" in fault.remedy for fault in faults)


def test_the_table_shows_a_row_a_rule_and_no_markup():
    faults = [Fault(place=f"{n}[red].png", rule="r", value="v", remedy="do it", severity="error") for n in range(5)]
    table = fault_table(faults, "[bold]")
    assert table.row_count == 1
    assert str(table.columns[3]._cells[0]).splitlines()[-1] == "and 2 more"
    assert "0[red].png: v" in str(table.columns[3]._cells[0])


def test_what_a_trainer_cannot_do_is_said_before_it_is_its_turn(project, tmp_path):
    loaded = load_project(CONFIG, {**project, "loras.luca.train.trainer": "kohya"})
    base = base_model(loaded)
    (fault,) = trainer_faults(loaded, base, list(loaded.loras))
    assert fault.place == "loras.luca.train"
    assert "sd-scripts" in fault.value
    assert trainer_faults(loaded, base, ["happy"]) == []
    file = write_checkpoint(make_random_base(tmp_path / "base"), tmp_path / "one.safetensors")
    (fault,) = trainer_faults(loaded, file, ["luca"])
    assert "'one.safetensors' is a checkpoint of sd15" in fault.value


def finished(workspace: Path, name: str, plan: LoraPlan) -> Path:
    """Write what a run leaves of a LoRA's captions and data set; return the latter in kohya's form."""
    stages = {"caption_images": plan.caption, "assemble_dataset": plan.dataset}
    for stage, config in stages.items():
        finish_stage(workspace / stage / f"{stage}-of-{name}", config=content_of(config))
    return good_folder(workspace / "assemble_dataset" / f"assemble_dataset-of-{name}" / "kohya" / "train").parent


def test_data_sets_that_are_assembled_already_are_checked(project, allowed):
    loaded = load_project(CONFIG, project)
    folders = {name: finished(loaded.workspace, name, loaded.loras[name]) for name in ("luca", "running")}
    uses = [
        StageUse(stage=s, label=name, digest=f"{s}-of-{name}", parents=(), reused=False, seconds=1)
        for name in folders
        for s in ("caption_images", "assemble_dataset")
    ]
    RunRecord(name="20260101", project="luca", started_at="2026", state="finished", stages=uses).save(loaded.workspace)
    faults, found = assembled_faults(loaded, base_model(loaded), list(loaded.loras))
    assert found == ["luca", "running"]
    assert {(fault.rule, fault.place.split("/")[1]) for fault in faults} == {
        ("trigger_missing", "assemble_dataset-of-running"),
        ("other_trigger", "assemble_dataset-of-running"),
    }
    Sample(folders["luca"] / "train", "b").picture.write_bytes(b"")
    result = run("preflight", str(CONFIG), "--lora", "luca", *set_options(project))
    assert "zero_bytes" in result.output
    assert "assemble_dataset/assemble_dataset-of-luca/kohya/train/b.png" in result.output
    assert isinstance(result.exception, InputFault)
    # What a changed project would make anew is not looked at.
    other = load_project(CONFIG, {**project, "loras.luca.trigger": "xyz"})
    assert assembled_folder(other, "luca") is None
    assert assembled_folder(other, "running") == folders["running"]


@pytest.mark.parametrize(
    ("precision", "bfloat16", "warned"),
    [("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False)],
)
def test_arithmetic_that_this_machine_would_emulate(project, precision, bfloat16, warned):
    loaded = load_project(CONFIG, {**project, "loras.luca.train.precision": precision})
    faults = speed_faults(loaded, list(loaded.loras), Machine(16, 12, bfloat16=bfloat16))
    assert [(fault.place, fault.severity) for fault in faults] == [("loras.luca.train", "warning")] * warned


def test_captions_longer_than_the_base_reads():
    (fault,) = words(loras__luca__caption__max_tokens="512")["error long_captions"]
    assert "sd15 reads 227" in fault
    assert "loras.luca.caption.max_tokens" in fault
