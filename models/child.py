"""What every child process does: report in JSON lines, and stop when asked to."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TextIO

STOPPED = 143


class Stopped(Exception):
    """The process was asked to stop, and has kept its state."""


class _Channel:
    """Where events go, and whether anyone still wants them."""

    stream: TextIO | None = None  # None: standard output
    stop = False


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


def request_stop() -> None:
    """Ask the work of this process to stop."""
    _Channel.stop = True


def prepare_torch(threads: int | None, *, deterministic: bool, processes: int = 1) -> None:
    """Set what torch keeps for the whole process, in which another job may have run before.

    Args:
        threads: how many compute; None: as OMP_NUM_THREADS says, else one for each core.
        deterministic: equal input makes equal output, by slower operations where the quickest do not.
        processes: how many share the work, and the cores.
    """
    import torch  # noqa: PLC0415  not every child computes

    torch.set_num_threads(threads or max(1, _usual_threads() // processes))
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it


@cache
def _usual_threads() -> int:
    import torch  # noqa: PLC0415

    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else os.cpu_count() or 1


def run_child(work: Callable[[Path], None]) -> int:
    """Run `work` on the request file that the command line names; return the exit code, as `attempt` does."""
    report_to_standard_output()
    signal.signal(signal.SIGTERM, _on_sigterm)
    return attempt(lambda: work(_request_file(sys.argv)))


def attempt(work: Callable[[], None]) -> int:
    """Run `work`; return 0 done, 1 failed, after an `error` event that says why, or 143 stopped, to be resumed."""
    try:
        work()
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except Exception as error:  # noqa: BLE001  the parent is told whatever went wrong
        traceback.print_exc()
        emit("error", message=str(error) or type(error).__name__)
        return 1
    return 0


def report_to_standard_output() -> None:
    """Keep standard output for the events: what libraries print goes to standard error."""
    sys.stdout.flush()
    _Channel.stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def _request_file(arguments: list[str]) -> Path:
    if len(arguments) != 2:  # noqa: PLR2004
        message = f"expected one argument, the request file, but got {arguments[1:]}"
        raise ValueError(message)
    return Path(arguments[1])


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    request_stop()
