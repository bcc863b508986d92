"""Programs that are killed on their way, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until_none_runs("models.diffusion.generate", str(workspace))
    kept = pictures_in(workspace)
    assert found.items() <= kept.items()
    return kept


def pictures_in(workspace: Path) -> dict[str, int]:
    """Return the pictures drawn so far, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in workspace.glob("*/*/job/pictures/*.png")}


def processes_with(*words: str) -> list[int]:
    """Return the processes whose command line holds all of these words."""
    lines = ((process.pid, process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
    return [pid for pid, line in lines if all(word in " ".join(line or []) for word in words)]


def wait_until_none_runs(*words: str, seconds: float = 30) -> None:
    """Wait for the end of the processes whose command line holds all of these words."""
    deadline = time.monotonic() + seconds
    while left := processes_with(*words):
        assert time.monotonic() < deadline, f"{words[0]} outlived its parent: {left}"
        time.sleep(0.1)
