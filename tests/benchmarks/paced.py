"""Trainers that are stopped between steps, so that several take turns and each pays alike for what else goes on."""

import json
import os
import signal
import subprocess
from pathlib import Path

from data_contracts.training import TrainRequest
from models.trainers.kohya_output import progress_of

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
CPU = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


class Paced:
    """A trainer that does one step and stops until it is asked for the next."""

    def __init__(self, command: list[str], request: TrainRequest) -> None:
        self.child = start(command, request, subprocess.PIPE)
        self.done = 0

    def step(self) -> float:
        """Let it finish a step; return the CPU time that it took since it was asked."""
        before = self._cpu_seconds()
        self.child.send_signal(signal.SIGCONT)
        wanted, line = self.done + 1, b""
        while self.done < wanted:
            byte = os.read(self.child.stdout.fileno(), 1)
            assert byte, f"ended with {self.child.wait()} after step {self.done}"
            line += byte
            if byte in b"\r\n":
                self.done, line = max(self.done, step_of(line.decode("utf-8", "replace"))), b""
        self.child.send_signal(signal.SIGSTOP)
        return self._cpu_seconds() - before

    def end(self) -> None:
        self.child.kill()
        self.child.wait()

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def step_of(line: str) -> int:
    """Return which step a line says is finished, 0 where it says nothing of the kind."""
    if line.startswith("{"):
        event = json.loads(line)
        return event["step"] if event["event"] == "progress" else 0
    progress = progress_of(line)
    return progress.step if progress and progress.loss is not None else 0


def start(command: list[str], request: TrainRequest, output: int) -> subprocess.Popen[bytes]:
    """Start a trainer: ours from here, sd-scripts in their data set's folder."""
    dataset = request.output / "kohya" / "dataset"
    ours = not dataset.is_dir()
    environment = CPU | {"PYTHONPATH": str(ROOT) if ours else "", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT if ours else dataset, env=environment, stdout=output, stderr=subprocess.STDOUT
    )
