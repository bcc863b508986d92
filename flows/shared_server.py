"""A server that several processes use: the first one starts it, the last one stops it, whichever that is.

Who uses it holds a lock on a file of its own, which the kernel drops with its holder: a process that was killed counts
no longer, and the server that it left behind is stopped by whoever uses it last.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout

from tasks.progress import logger

STOP_S = 5.0  # what nobody uses any more has little to finish
LATE_S = 30.0
CLOCK_S = 5.0  # the clock is set while a process lives, and with it what the kernel says of the process's start
RECORD = "server.json"


@contextmanager
def shared(folder: Path, is_up: Callable[[], bool], start: Callable[[], "subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Use a server; start it where it is not up, and stop it on leaving if nobody else uses it.

    A server that nobody started here is left alone.

    Args:
        folder: what is known about this server, on this machine: one for each address.
        is_up: tells whether it answers.
        start: starts it, and returns once it answers.
    """
    users = folder / "users"
    users.mkdir(parents=True, exist_ok=True)
    mine = users / f"{uuid4().hex}.lock"
    using, child = FileLock(mine), None
    with _alone(folder):
        if not is_up() and not (_used(users) and _answers_late(is_up)):
            _stop(folder / RECORD, is_up)  # one that hangs keeps the port
            child = start()
            record = {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
            (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
        using.acquire()
    try:
        yield
    finally:
        with _alone(folder):
            using.release()
            mine.unlink(missing_ok=True)
            if not _used(users):
                _stop(folder / RECORD, is_up)
        if child is not None:
            child.poll()  # takes leave of it, where it has ended


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Come or go while nobody else does."""
    door = FileLock(folder / "door.lock")
    try:
        door.acquire(timeout=1)
    except Timeout:
        logger.info("another run is starting or stopping the server: waiting for it")
        door.acquire()
    try:
        yield
    finally:
        door.release()


def _used(users: Path) -> bool:
    """Tell whether a living process uses the server; what dead ones left is removed."""
    for path in users.glob("*.lock"):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        path.unlink(missing_ok=True)
    return False


def _answers_late(is_up: Callable[[], bool]) -> bool:
    """Give a server that others use time to answer: on a busy machine it is slow, and not to be started twice."""
    deadline = time.monotonic() + LATE_S
    while not is_up():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def _stop(record: Path, is_up: Callable[[], bool]) -> None:
    """End the server that was started here; a process that only took over its number is another one."""
    if not record.is_file():
        return
    known = json.loads(record.read_text(encoding="utf-8"))
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(known["pid"])
        if abs(process.create_time() - known["started"]) < CLOCK_S:
            process.terminate()
            if not _ends(process, is_up):
                process.kill()
    record.unlink()


def _ends(process: psutil.Process, is_up: Callable[[], bool]) -> bool:
    """Wait for the end of a process that may be another's child, and so stay as a zombie; its port closes later."""
    deadline = time.monotonic() + STOP_S
    while (process.is_running() and process.status() != psutil.STATUS_ZOMBIE) or is_up():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
