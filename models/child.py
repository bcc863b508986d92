"""What every child process does: report in JSON lines, stop when asked to, and not outlive its parent."""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TextIO

PARENT_VARIABLE = "REEL2LORA_PARENT_PID"
STOPPED = 143
_PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """The process was asked to stop, and has kept its state."""


class _Channel:
    """Where events go, and whether anyone still wants them."""

    stream: TextIO | None = None  # None: standard output
    stop = False


def die_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends. Linux only.

    A parent may die before the kernel is asked. One that puts its process id into the variable
    REEL2LORA_PARENT_PID is seen to be gone even when it died before this process came up.

    Raises:
        Stopped: the parent is gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = int(os.environ.get(PARENT_VARIABLE, os.getppid()))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
    if os.getppid() != parent:
        message = f"parent {parent} ended before its child began"
        raise Stopped(message)


def emit(event: str, **fields: object) -> None:
    """Write one event as a line of JSON. When nobody reads any more, that counts as being asked to stop."""
    try:
        print(json.dumps({"event": event, **fields}), file=_Channel.stream or sys.stdout, flush=True)
    except BrokenPipeError:
        _Channel.stop = True
        _Channel.stream = sys.stderr


def stop_requested() -> bool:
    """Whether SIGTERM came, or the reader of the events went."""
    return _Channel.stop


def use_threads(wanted: int | None) -> None:
    """Have torch compute in so many threads; None: as OMP_NUM_THREADS says, else one for each core."""
    import torch  # noqa: PLC0415  not every child computes

    if wanted is None and "OMP_NUM_THREADS" in os.environ:
        return  # torch has read it already
    torch.set_num_threads(wanted or os.cpu_count() or 1)


def run_child(work: Callable[[Path], None]) -> int:
    """Run `work` on the request file that the command line names; return the exit code.

    0 done; 1 failed, after an `error` event that says why; 143 stopped by SIGTERM, to be resumed by the same command.
    Standard output belongs to the events: what libraries print goes to standard error.
    """
    _claim_standard_output()
    signal.signal(signal.SIGTERM, _request_stop)
    try:
        die_with_parent()
        work(_request_file(sys.argv))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except Exception as error:  # noqa: BLE001  the parent is told whatever went wrong
        traceback.print_exc()
        emit("error", message=str(error) or type(error).__name__)
        return 1
    return 0


def _request_file(arguments: list[str]) -> Path:
    if len(arguments) != 2:  # noqa: PLR2004
        message = f"expected one argument, the request file, but got {arguments[1:]}"
        raise ValueError(message)
    return Path(arguments[1])


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    _Channel.stop = True


def _claim_standard_output() -> None:
    sys.stdout.flush()
    _Channel.stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
