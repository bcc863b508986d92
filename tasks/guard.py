"""What keeps a result whole: one writer at a time, and a full disk said in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_contracts.faults import StageFault
from tasks.progress import logger


def lock_of(folder: Path) -> FileLock:
    """Return the lock that whoever computes the result in a folder holds; the kernel drops it with its process."""
    return FileLock(folder / ".lock")


@contextmanager
def one_writer(stage: str, folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for whoever holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("%s: another run is computing this very result; waiting for it", stage)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_faults(stage: str, workspace: Path) -> Iterator[None]:
    """Turn the system's disk errors into what happened, what is kept and what to do.

    Raises:
        StageFault: the disk is full, or the workspace cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{stage}: the disk that holds workspace {workspace.name!r} is full. Finished parts are kept; "
            raise StageFault(message + "free some space (`reel2lora clean --keep-last`) and run again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            message = f"{stage}: workspace {workspace.name!r} cannot be written ({error.strerror}); "
            raise StageFault(message + "give it write permission or name another in the project file") from error
        raise
