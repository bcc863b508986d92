"""Long work in a process of its own: progress out as JSON lines, a polite stop, and no orphans."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_contracts.config import Config
from data_contracts.faults import StageFault
from models.worker import IDLE, Order
from tasks.progress import report_progress

Event = dict[str, Any]
PATIENCE_S = 30.0  # from SIGTERM, which saves a checkpoint, to SIGKILL


def run_job(
    job: str, request: Config, folder: Path, on_event: Callable[[Event], None], max_seconds: float = 86400.0
) -> Event:
    """Have a worker do one job and return the job's last event.

    The worker has a session of its own, is stopped when this process ends in any way, and is kept for the next job
    when this one is done. A job goes on from its own checkpoints when it is started again with the same folder.

    Args:
        job: `package.module:function`, a function of the path of a request file.
        request: written to `folder/request.json`.
        folder: where the job keeps its state.
        on_event: called with each event of the job.
        max_seconds: after this long the worker is stopped.

    Raises:
        StageFault: the job failed, was stopped, or took too long; the message is its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / "request.json", folder / "stderr.log"
    path.write_text(request.model_dump_json(indent=1), encoding="utf-8")
    log.write_bytes(b"")
    worker = _hire(log)
    deadline = threading.Timer(max_seconds, worker.stop)
    deadline.daemon = True
    deadline.start()
    started, last = time.monotonic(), Event()
    try:
        report_progress(0.0, "loading")
        for event in worker.events(Order(job=job, request=path, log=log)):
            last = event
            on_event(event)
    except BaseException:
        worker.stop()
        worker.wait()
        raise
    finally:
        deadline.cancel()
    code = worker.wait()
    if time.monotonic() - started >= max_seconds:
        message = f"{job} was stopped after its limit of {max_seconds:.0f} s; its state is kept: raise `max_seconds`"
        raise StageFault(message)
    if code != 0 or last.get("event") != "done":
        why = last.get("message") if last.get("event") == "error" else tail(log)
        message = f"{job} ended with code {code}: {why or 'it said nothing'}. Its state is kept: a rerun goes on"
        raise StageFault(message)
    return last


class Worker:
    """One `python -m models.worker`, which does one job at a time."""

    def __init__(self, log: Path) -> None:
        self.environment = dict(os.environ)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "models.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=Path(__file__).parent.parent,
                text=True,
                start_new_session=True,
            )
        self._is_idle = True

    @property
    def can_be_hired(self) -> bool:
        """Whether it lives, and in the environment of today."""
        return self._process.poll() is None and self.environment == dict(os.environ)

    def events(self, order: Order) -> Iterator[Event]:
        """Yield what a job tells of, until it is done or the worker has ended."""
        orders, events = self._process.stdin, self._process.stdout
        self._is_idle = False
        if orders is None or events is None:
            message = "a worker's standard input and output are pipes"
            raise TypeError(message)
        with suppress(BrokenPipeError):  # it has ended: its exit code says why
            orders.write(order.model_dump_json() + "\n")
            orders.flush()
        for line in events:
            event = json.loads(line)
            if event["event"] == IDLE:
                self._is_idle = True
                return
            yield event

    def wait(self) -> int:
        """Return 0 where the job is done and the worker free for the next, the exit code where it has ended."""
        if self._is_idle:
            _keep(self)
            return 0
        with self._process:
            return self._process.wait()

    def dismiss(self) -> None:
        """End it where it is idle."""
        with self._process:
            self._process.communicate()

    def stop(self) -> None:
        """Ask its whole session to stop, which saves the job's state; make it after a while."""
        for number, patience in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, 5.0)):
            if self._process.poll() is not None:
                return
            with suppress(ProcessLookupError):
                self._signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

    def _signal(self, number: signal.Signals) -> None:
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, number)
        else:
            self._process.terminate()


_idle: list[Worker] = []
_lock = threading.Lock()


def _hire(log: Path) -> Worker:
    """Return the idle worker, where there is one for this environment, or a new one."""
    with _lock:
        waiting = _idle.pop() if _idle else None
    if waiting is not None and waiting.can_be_hired:
        return waiting
    if waiting is not None:
        waiting.dismiss()
    return Worker(log)


def _keep(worker: Worker) -> None:
    """Keep one idle worker: each holds the memory of what it has imported."""
    with _lock:
        is_one_too_many = bool(_idle)
        if not is_one_too_many:
            _idle.append(worker)
    if is_one_too_many:
        worker.dismiss()


def tail(path: Path, lines: int = 8) -> str:
    """Return the last lines of a log."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
