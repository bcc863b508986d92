"""Child processes report in JSON lines, stop when asked to, and do not outlive their parent."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from models.child import PARENT_VARIABLE

ROOT = Path(__file__).parents[2]
CHILD = textwrap.dedent(
    """
    import sys, time
    from models.child import Stopped, emit, run_child, stop_requested

    def work(request):
        if request.name == "broken":
            raise ValueError("the picture is blue")
        print("a library talks")
        emit("ready")
        for _ in range(1000):
            if stop_requested():
                request.write_text("stopped")
                raise Stopped("stopped")
            time.sleep(0.01)

    sys.exit(run_child(work))
    """
)


def start(request: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(request)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_sigterm_is_a_request_to_stop_and_output_holds_events_only(tmp_path: Path):
    with start(tmp_path / "request") as child:
        assert json.loads(child.stdout.readline()) == {"event": "ready"}
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out) == (143, "")
    assert "a library talks" in err
    assert (tmp_path / "request").read_text() == "stopped"


def test_a_failure_is_an_event_and_exit_code_1(tmp_path: Path):
    with start(tmp_path / "broken") as child:
        out, err = child.communicate(timeout=10)
    assert child.returncode == 1
    assert json.loads(out) == {"event": "error", "message": "the picture is blue"}
    assert "Traceback" in err


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_the_child_stops_when_its_parent_is_killed(tmp_path: Path):
    request = tmp_path / "request"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}, {str(request)!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.kill()
        end = time.monotonic() + 10
        while not request.exists() and time.monotonic() < end:
            time.sleep(0.05)
    assert request.read_text() == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_child_whose_parent_is_gone_does_not_begin(tmp_path: Path):
    with start(tmp_path / "request", **{PARENT_VARIABLE: "999999999"}) as child:
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out) == (143, "")
    assert "ended before its child began" in err


def test_a_reader_that_goes_away_stops_the_child(tmp_path: Path):
    script = "from models.child import *; import time\nwhile not stop_requested(): emit('tick'); time.sleep(0.01)"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=10) == 0
