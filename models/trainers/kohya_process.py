"""sd-scripts as a child process: its lines as they come, and an end to it when we are to stop."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from models.child import stop_requested
from models.trainers.kohya_launch import PARENT_VARIABLE

POLL_S = 0.5
PATIENCE_S = 5.0  # from SIGTERM, at which sd-scripts save nothing, to SIGKILL
_LINE_END = re.compile(rb"[\r\n]")  # progress bars end with the former
_WIDE = "10000"  # columns: rich would break messages into lines


class Process:
    """One start of `train_network.py`; `log` gets all that it says."""

    def __init__(self, command: list[str], folder: Path, log: Path, threads: int | None) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        environment |= {
            PARENT_VARIABLE: str(os.getpid()),
            "COLUMNS": _WIDE,
            "HF_HUB_OFFLINE": "1",  # all that it needs is here
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
        }
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        self.log = log
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        Thread(target=self._read, daemon=True).start()

    def lines(self) -> Iterator[str]:
        """Yield what it says, line by line, and "" when it has said nothing for a while; end when it or we should."""
        while not stop_requested():
            try:
                line = self._lines.get(timeout=POLL_S)
            except Empty:
                line = ""
            if line is None:
                return
            yield line

    def stop(self) -> int:
        """End it where it has not ended; return its exit code."""
        if self._child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(POLL_S if not stop_requested() else 0)
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()

    def _read(self) -> None:
        output, rest = self._child.stdout, b""
        assert output is not None  # noqa: S101  a pipe was asked for
        with self.log.open("ab") as log:
            while chunk := os.read(output.fileno(), 1 << 16):
                log.write(chunk)
                log.flush()
                *whole, rest = _LINE_END.split(rest + chunk)
                for line in whole:
                    self._lines.put(line.decode("utf-8", "replace"))
        if rest:
            self._lines.put(rest.decode("utf-8", "replace"))
        self._lines.put(None)
