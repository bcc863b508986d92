"""Long work in a child process of its own: progress out as JSON lines, a polite stop, and no orphans."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_contracts.config import Config
from data_contracts.faults import StageFault
from models.child import PARENT_VARIABLE
from tasks.progress import report_progress

Event = dict[str, Any]
PATIENCE_S = 30.0  # from SIGTERM, which saves a checkpoint, to SIGKILL


def run_job(
    module: str, request: Config, folder: Path, on_event: Callable[[Event], None], max_seconds: float = 86400.0
) -> Event:
    """Run `python -m module REQUEST.json` and return its last event.

    The child has a session of its own, is stopped when this process ends in any way, and goes on from its own
    checkpoints when it is started again with the same folder.

    Args:
        module: a module whose main takes the path of a request file.
        request: written to `folder/request.json`.
        folder: where the job keeps its state.
        on_event: called with each line that the child prints.
        max_seconds: after this long the child is stopped.

    Raises:
        StageFault: the child failed, was stopped, or took too long; the message is the child's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "request.json"
    path.write_text(request.model_dump_json(indent=1), encoding="utf-8")
    errors = folder / "stderr.log"
    environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    with errors.open("wb") as error_log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(path)],
            stdout=subprocess.PIPE,
            stderr=error_log,
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
            env=environment,
            text=True,
            start_new_session=True,
        )
    deadline = threading.Timer(max_seconds, stop, args=(child,))
    deadline.daemon = True
    deadline.start()
    started, last = time.monotonic(), Event()
    try:
        report_progress(0.0, "loading")
        for line in child.stdout or ():
            last = json.loads(line)
            on_event(last)
        code = child.wait()
    finally:
        deadline.cancel()
        stop(child)
    if time.monotonic() - started >= max_seconds:
        message = f"{module} was stopped after its limit of {max_seconds:.0f} s; its state is kept: raise `max_seconds`"
        raise StageFault(message)
    if code != 0 or last.get("event") != "done":
        why = last.get("message") if last.get("event") == "error" else tail(errors)
        message = f"{module} ended with code {code}: {why or 'it said nothing'}. Its state is kept: a rerun goes on"
        raise StageFault(message)
    return last


def stop(child: "subprocess.Popen[str]") -> None:
    """Ask the child's whole session to stop, which saves its state; make it after a while."""
    for number, patience in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, 5.0)):
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError):
            _signal(child, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)


def _signal(child: "subprocess.Popen[str]", number: signal.Signals) -> None:
    if hasattr(os, "killpg"):
        os.killpg(child.pid, number)
    else:
        child.terminate()


def tail(path: Path, lines: int = 8) -> str:
    """Return the last lines of a log."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
