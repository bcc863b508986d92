"""Several processes that train one LoRA together, one for each GPU.

They share the forward passes of a step: of `accumulate` passes, process r of n does passes r, r + n, and so on. Their
gradients are added up, and each process moves its own copy of the adapter by the sum. So the LoRA is the one that a
single process would have trained, but for the order of its additions, and a killed run may go on with more or fewer.

The leader is the process of the job. It alone writes, validates and draws; its helpers hold nothing that is not in a
checkpoint, and end when it does, in whatever way.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import torch
from torch import distributed

from data_contracts.faults import InputFault
from models.child import emit

GRACE_S = 20.0
PATIENCE = timedelta(days=30)
"""Helpers wait while the leader validates or draws; a helper that ended is noticed otherwise."""


class Team:
    """One process's way to the others; alone, there are none."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def passes(self, count: int) -> range:
        """Return which of a step's forward passes this process does."""
        return range(self.rank, count, self.size)

    def goes_on(self, *, going: bool = True) -> bool:
        """Return what the leader says: whether there is another step."""
        if self.size == 1:
            return going
        said = torch.tensor([going], dtype=torch.int32)
        distributed.broadcast(said, src=0)
        return bool(said)

    def sum_losses(self, loss: float, fault: FloatingPointError | None) -> float:
        """Return the sum of all processes' losses.

        Raises:
            FloatingPointError: `fault`, or that of another process; then all processes raise it.
        """
        if self.size > 1:
            together = torch.tensor([loss, fault is not None], dtype=torch.float64)
            distributed.all_reduce(together)
            loss, broken = together.tolist()
            fault = self._first(fault) if broken else None
        if fault is not None:
            raise fault
        return loss

    def _first(self, fault: FloatingPointError | None) -> FloatingPointError:
        words: list[str] = [""] * self.size
        distributed.all_gather_object(words, str(fault or ""))
        return FloatingPointError(next(filter(None, words)))

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give each parameter the sum of all processes' gradients, None where none has one."""
        if self.size == 1:
            return
        there = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        together = torch.cat([there.to(gradients[0].device), *(gradient.flatten().float() for gradient in gradients)])
        distributed.all_reduce(together)
        sizes = [len(parameters), *(parameter.numel() for parameter in parameters)]
        counts, *sums = together.split(sizes)  # type: ignore[no-untyped-call]
        for parameter, total, count in zip(parameters, sums, counts.tolist(), strict=True):
            parameter.grad = total.view_as(parameter).to(parameter.dtype) if count else None


@contextmanager
def leading(request_file: Path, size: int) -> Iterator[Team]:
    """Yield the leader's place in a team of `size` processes that do the request.

    Raises:
        InputFault: this machine has fewer GPUs.
    """
    if size == 1:
        yield Team()
        return
    if lacking := no_processes(size):
        raise InputFault(lacking)
    with TemporaryDirectory(prefix="reel2lora-") as folder:
        meeting, over = Path(folder) / "meeting", Event()
        helpers = [_start_helper(request_file, rank, size, meeting) for rank in range(1, size)]
        for rank, helper in enumerate(helpers, start=1):
            Thread(target=_watch, args=(helper, rank, over), daemon=True).start()
        try:
            with joined(0, size, meeting) as team:
                try:
                    yield team
                finally:
                    over.set()
        finally:
            over.set()
            for helper in helpers:
                helper.communicate()


@contextmanager
def joined(rank: int, size: int, meeting: Path) -> Iterator[Team]:
    """Yield this process's place in a team whose members meet at the file `meeting`; its device is its own GPU."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, init_method=meeting.as_uri(), rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Team(rank, size)
    finally:
        distributed.destroy_process_group()


def no_processes(size: int) -> str:
    """Return why this machine has no `size` processes to train with, with what to do; empty where it has."""
    gpus = torch.cuda.device_count()
    if size == 1 or not gpus or size <= gpus:
        return ""
    return f"processes is {size}, but this machine has {gpus} GPU{'s'[: gpus != 1]}: set it to {gpus} at most"


def _start_helper(request_file: Path, rank: int, size: int, meeting: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "models.trainers.helper", str(request_file), str(rank), str(size), str(meeting)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _watch(helper: "subprocess.Popen[bytes]", rank: int, over: Event) -> None:
    """End this process when a helper does before its time: what waits for it would wait for ever.

    What is wrong with the request is found by all, and better told by this process, a little later perhaps.
    """
    code = helper.wait()
    if code != 0 and not over.wait(GRACE_S):
        emit("error", message=f"training process {rank} ended with exit code {code}: its messages are in the log")
        os._exit(1)
