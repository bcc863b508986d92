"""Programs that are killed on their way, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.small_project import ROOT


def start_script(script: str, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    """Start Python source in a session of its own, its messages in `stderr`."""
    command = [sys.executable, "-c", script, *arguments]
    surroundings = {**os.environ, **environment}
    return subprocess.Popen(command, cwd=ROOT, env=surroundings, stderr=subprocess.PIPE, start_new_session=True)


def finish(child: "subprocess.Popen[bytes]", seconds: float = 200) -> None:
    """Wait for the end of a program that shall succeed."""
    _, errors = child.communicate(timeout=seconds)
    assert child.returncode == 0, errors.decode()[-2000:]


def wait_for(pattern: str, folder: Path, program: "subprocess.Popen[Any]", seconds: float = 280) -> Path:
    """Return the first file of a pattern as soon as there is one, which has to be while the program runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := sorted(folder.glob(pattern)):
            return found[0]
        assert program.poll() is None, f"it ended before {pattern} was there"
        time.sleep(0.02)
    raise AssertionError(pattern)


def end_at(child: "subprocess.Popen[str]", event: str, step: int, how: int = signal.SIGKILL) -> None:
    """Send a signal to a program that reports in JSON lines, as soon as it tells of an event at a step."""
    for line in child.stdout:
        told = json.loads(line)
        if told["event"] == event and told["step"] == step:
            child.send_signal(how)
            break
    child.communicate(timeout=60)
    assert child.returncode == (143 if how == signal.SIGTERM else -how)


def kill_after_pictures(child: "subprocess.Popen[bytes]", workspace: Path, count: int) -> dict[str, int]:
    """Kill a stage that has drawn `count` pictures, wait for its generator to end; return the pictures left."""
    while len(found := pictures_in(workspace)) < count:
        assert child.poll() is None, child.stderr.read().decode()[-2000:]
        time.sleep(0.02)
    kill(child)
    kept = pictures_in(workspace)
    assert found.items() <= kept.items()
    return kept


def pictures_in(workspace: Path) -> dict[str, int]:
    """Return the pictures drawn so far, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in workspace.glob("*/*/job/pictures/*.png")}


def kill(program: "subprocess.Popen[Any]", patience_s: float = 60) -> None:
    """Kill a program and wait until the workers it has started have noticed, and ended."""
    started = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    _, left = psutil.wait_procs(started, patience_s)
    assert not left, f"they outlived their parent: {left}"
