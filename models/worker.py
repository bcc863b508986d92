"""A process that does one job after another: `python -m models.worker`, an `Order` a line on standard input.

To import torch, diffusers and peft takes five to twenty seconds: a process that has done so takes the next job too.
Standard input is its leash as well. It ends when whoever holds the other end does, in whatever way, and that asks the
job under way to stop.
"""

import gc
import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType

from data_contracts.config import Config
from models.child import attempt, emit, report_to_standard_output, request_stop, stop_requested

IDLE = "idle"
"""The event after a job that is done: the next may be ordered."""


class Order(Config):
    """One job."""

    job: str
    """The function that does it, as `package.module:function`."""
    request: Path
    """What the function is called with."""
    log: Path
    """What is written to standard error is added to this file."""


def main() -> int:
    """Do what is ordered until standard input ends, a job fails, or SIGTERM comes; return what `attempt` does."""
    report_to_standard_output()
    orders: SimpleQueue[bytes | None] = SimpleQueue()

    def end(_number: int = 0, _frame: FrameType | None = None) -> None:
        request_stop()
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    Thread(target=_follow, args=(orders, end), daemon=True).start()
    while (line := orders.get()) is not None:
        order = Order.model_validate_json(line)
        _log_to(order.log)
        code = attempt(partial(_do, order))
        if code != 0:
            return code
        if stop_requested():
            break
        _free_memory()
        emit(IDLE)
    return 0


def _follow(orders: SimpleQueue[bytes | None], end: Callable[[], None]) -> None:
    # unbuffered, and not sys.stdin: a thread that waits in its buffer's lock keeps the interpreter from ending
    with FileIO(0, closefd=False) as lines:
        for line in iter(lines.readline, b""):
            orders.put(line)
    end()


def _log_to(path: Path) -> None:
    sys.stderr.flush()
    with path.open("ab") as log:
        os.dup2(log.fileno(), 2)
    os.dup2(2, 1)


def _do(order: Order) -> None:
    work: Callable[[Path], None] = pkgutil.resolve_name(order.job)
    work(order.request)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
