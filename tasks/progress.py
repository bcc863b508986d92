"""How far a stage is: a bar on a terminal, a line every ten seconds elsewhere, and Prefect's artifact in a flow."""

import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

logger = logging.getLogger("reel2lora")
logger.setLevel(logging.INFO)  # in a process that Prefect starts, no command line says so
LINE_EVERY_S = 10.0
SINK_EVERY_S = 5.0  # each is an event in Prefect's database, and a line of `prefect deployment run --watch`

Sink = Callable[[float, str], None]  # (percent, what is being done)


class Progress:
    """Progress of one stage; `advance` after each shard, `report_progress` for what goes on inside one."""

    def __init__(self, stage: str, label: str, total: int, sink: Sink | None) -> None:
        self.title = f"{stage} {label}".strip()
        self.total, self.done, self.inside, self.text = max(1, total), 0, 0.0, ""
        self.sink = sink
        self.last_line = self.last_sink = time.monotonic()
        self.bars = _bars() if sys.stderr.isatty() else None
        self.bar = self.bars.add_task(self.title, total=1.0) if self.bars else None
        self.token: Token[Progress | None] | None = None

    def __enter__(self) -> Self:
        """Show the bar."""
        if self.bars:
            self.bars.start()
        self.token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar where it is."""
        if self.token is not None:
            _current.reset(self.token)
        if self.bars:
            self.bars.stop()

    @property
    def fraction(self) -> float:
        """Finished share, 0..1."""
        return min(1.0, (self.done + self.inside) / self.total)

    def advance(self) -> None:
        """One shard is finished."""
        self.done, self.inside = self.done + 1, 0.0
        self._show(force=self.done == self.total)

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self.bars and self.bar is not None:
            self.bars.update(self.bar, completed=self.fraction, description=f"{self.title} {self.text}".strip())
        elif now - self.last_line >= LINE_EVERY_S:
            self.last_line = now
            logger.info("%s %.0f%% %s", self.title, 100 * self.fraction, self.text)
        if self.sink and (force or now - self.last_sink >= SINK_EVERY_S):
            self.last_sink = now
            self.sink(100 * self.fraction, self.text)

    def report(self, fraction: float, text: str) -> None:
        """Note that the running shard is at `fraction`, doing `text`."""
        self.inside, self.text = fraction, text
        self._show()


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


def report_progress(fraction: float, text: str) -> None:
    """Say how far the running shard is; nothing happens outside a stage."""
    if (progress := _current.get()) is not None:
        progress.report(fraction, text)


def _bars() -> Bars:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    return Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
