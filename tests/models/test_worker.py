"""A worker does one job after another, and none that nobody waits for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from models.child import Stopped, emit, stop_requested
from models.worker import Order

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-m", "models.worker"]


def work(request: Path) -> None:
    """Fail, end at once, or wait to be stopped, as the request's name says."""
    if request.name == "broken":
        message = "the picture is blue"
        raise ValueError(message)
    print(f"a library talks of {request.name}")
    emit("ready", pid=os.getpid())
    while request.name == "endless":
        if stop_requested():
            request.write_text("stopped")
            message = "it is kept"
            raise Stopped(message)
        time.sleep(0.01)


def order(request: Path) -> str:
    return Order(job=f"{__name__}:work", request=request, log=request.with_suffix(".log")).model_dump_json() + "\n"


def start() -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(START, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def give(worker: "subprocess.Popen[str]", request: Path) -> dict:
    """Order a job; return its first event."""
    worker.stdin.write(order(request))
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def test_one_process_does_all_jobs_and_each_has_its_own_log(tmp_path):
    with start() as worker:
        for name in ("first", "second"):
            assert give(worker, tmp_path / name) == {"event": "ready", "pid": worker.pid}
            assert json.loads(worker.stdout.readline()) == {"event": "idle"}
        worker.stdin.close()
        assert worker.wait(timeout=60) == 0
    assert (tmp_path / "first.log").read_text() == "a library talks of first\n"
    assert (tmp_path / "second.log").read_text() == "a library talks of second\n"


def test_a_job_that_fails_ends_the_worker(tmp_path):
    with start() as worker:
        assert give(worker, tmp_path / "broken") == {"event": "error", "message": "the picture is blue"}
        assert worker.wait(timeout=60) == 1
    assert "Traceback" in (tmp_path / "broken.log").read_text()


def test_sigterm_stops_the_job_and_ends_an_idle_worker(tmp_path):
    for name, code in (("endless", 143), ("done", 0)):
        with start() as worker:
            give(worker, tmp_path / name)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=60) == code
    assert (tmp_path / "endless").read_text() == "stopped"
    assert (tmp_path / "endless.log").read_text().endswith("it is kept\n")


def test_the_worker_of_a_killed_process_stops(tmp_path):
    parent = (
        "import subprocess, sys\n"
        f"worker = subprocess.Popen({START!r}, stdin=subprocess.PIPE, text=True)\n"
        f"worker.stdin.write({order(tmp_path / 'endless')!r}); worker.stdin.flush(); worker.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.kill()
        end = time.monotonic() + 30
        while not (tmp_path / "endless").exists() and time.monotonic() < end:
            time.sleep(0.05)
    assert (tmp_path / "endless").read_text() == "stopped"
