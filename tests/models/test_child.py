"""Child processes report in JSON lines and stop when asked to."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

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


def start(request: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(request)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_is_a_request_to_stop_and_output_holds_events_only(tmp_path: Path):
    with start(tmp_path / "request") as child:
        assert json.loads(child.stdout.readline()) == {"event": "ready"}
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (143, "")
    assert "a library talks" in err
    assert (tmp_path / "request").read_text() == "stopped"


def test_a_failure_is_an_event_and_exit_code_1(tmp_path: Path):
    with start(tmp_path / "broken") as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert json.loads(out) == {"event": "error", "message": "the picture is blue"}
    assert "Traceback" in err


def test_a_reader_that_goes_away_stops_the_child(tmp_path: Path):
    script = "from models.child import *; import time\nwhile not stop_requested(): emit('tick'); time.sleep(0.01)"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=60) == 0
