"""What cannot work is refused before the first stage, with exit code 2 and a message that says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_contracts.faults import InputFault
from flows.main import app, main
from tests.small_project import CONFIG, ROOT, small_project


def refused(changes: dict[str, str], *more: str) -> str:
    """Run the command line in this process; return why it refused. No stage may have run."""
    arguments = ["run", str(CONFIG)]
    for key, value in changes.items():
        arguments += ["--set", f"{key}={value}"]
    result = CliRunner().invoke(app, [*arguments, *more])
    assert isinstance(result.exception, InputFault), (result.exception, result.output)
    assert result.exception.exit_code == 2
    workspace = Path(changes["workspace"])
    assert not list(workspace.glob("*/*/files")) if workspace.is_dir() else True
    return str(result.exception)


@pytest.fixture
def project(allowed) -> dict[str, str]:
    return small_project(allowed / "work")


def test_a_missing_film(project):
    assert "samples/no.mp4" in refused({**project, "films": "[samples/no.mp4]"})


def test_a_text_file_that_is_named_like_a_film(project, allowed):
    (allowed / "story.mp4").write_text("once upon a time")
    message = refused({**project, "films": f"[{allowed}/story.mp4]"})
    assert "story.mp4 is not a film" in message
    assert str(allowed) not in message


def test_a_film_whose_index_is_torn_off(project, allowed):
    whole = (ROOT / "samples/harbour/harbour.mp4").read_bytes()
    (allowed / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    assert "torn.mp4 is not a film" in refused({**project, "films": f"[{allowed}/torn.mp4]"})


def test_a_reference_that_is_no_picture(project, allowed):
    (allowed / "luca.png").write_bytes(b"GIF89a but not really")
    message = refused({**project, "characters.luca.references": f"[{allowed}/luca.png]"})
    assert "characters.luca.references: luca.png: not a picture" in message


def test_an_unknown_key_and_a_negative_number_in_one_message(project):
    message = refused({**project, "extract_frames.every_s": "-1", "segment_layers.colour": "red"})
    assert "extract_frames.every_s" in message
    assert "segment_layers.colour" in message


def test_a_rule_of_two_keys_is_said_without_the_checkers_own_words(project):
    message = refused({**project, "loras.luca.train.steps": "8", "loras.luca.train.warmup_steps": "9"})
    assert "luca.yaml: loras.luca.train: warmup_steps is 9, but there are only 8 steps" in message


def test_a_film_without_people(project):
    empty = "[{path: samples/harbour/harbour.mp4, from_frame: 0, to_frame: 90}]"
    message = refused({**project, "films": empty})
    assert "nobody was found in 32 frames of harbour.mp4" in message


def test_an_unknown_lora(project):
    assert "'nobody' is not in the project; known: luca" in refused(project, "--lora", "nobody")


def test_an_unknown_backend(project):
    message = refused({**project, "segment_layers.backend": "magic"})
    assert "segment_layers.backend" in message
    assert "magic" in message


def test_a_change_without_a_value(project, allowed):
    result = CliRunner().invoke(app, ["run", str(CONFIG), "--set", "extract_frames.every_s"])
    assert "should be KEY=VALUE" in str(result.exception)


@pytest.mark.skipif(not hasattr(os, "mkfifo") or not sys.platform.startswith("linux"), reason="needs a Linux device")
def test_a_rerun_with_a_wrong_change_costs_no_result(allowed):
    arguments = ["rerun", str(CONFIG), "train_lora", "--set", f"workspace={allowed}/work", "--set", "train.stepz=3"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputFault)
    assert "train" in str(result.exception), "the change is refused before the workspace is looked into"


def test_a_workspace_that_is_not_writable(project):
    message = refused({**project, "workspace": "/proc/reel2lora"}, "--allow-folder", "/proc")
    assert "workspace: 'reel2lora' cannot be written" in message
    assert "name another folder" in message


def test_a_disk_that_is_too_small(project, allowed):
    disk = allowed / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        message = refused({**project, "workspace": str(disk / "work")})
        assert "MB are free where it lies, but this run takes about" in message
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_command_line_exits_with_2_and_one_clear_line():
    command = [sys.executable, "-m", "flows.main", "run", str(CONFIG), "--set", "colour=red"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 2
    assert child.stderr.strip() == "reel2lora: luca.yaml: colour = 'red': unknown key; remove it or mend its spelling"


def test_who_interrupts_is_told_that_nothing_is_lost(monkeypatch, tmp_path, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.commands.lint.print_lint", interrupted)
    monkeypatch.setattr("sys.argv", ["reel2lora", "lint", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert "stopped. Finished parts are kept; the same command goes on" in capsys.readouterr().err


def test_a_port_beside_another_in_the_environment(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4321/api")
    result = CliRunner().invoke(app, ["up", str(CONFIG), "--port", "4300"])
    assert isinstance(result.exception, InputFault), result.output
    assert "--port 4300: PREFECT_API_URL names http://127.0.0.1:4321/api" in str(result.exception)


def test_help_comes_without_networks():
    code = "import sys, flows.main; sys.exit(any(m in sys.modules for m in ('torch', 'prefect', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
