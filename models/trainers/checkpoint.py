"""Checkpoints: what a training run needs to go on as if it had never stopped.

The weights, the optimizer and the number of finished steps are all: learning rate, order, noise and timesteps are
functions of the step. A checkpoint is a folder, written beside and renamed, so that one under its name is whole.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from data_contracts.digest import digest_of
from data_contracts.faults import InputFault
from data_contracts.training import TrainRequest
from data_contracts.whole_file import whole_file

KEPT = 2
# These decide what is watched while training, not what comes out of it: changing them need not restart a run.
_WATCHING = {"checkpoint_every", "sample_every", "sample_prompts", "tensorboard", "processes"}
_DRAWING = {"sample_steps", "sample_guidance"}


@dataclass(frozen=True)
class State:
    """What changes while training."""

    step: int  # finished optimizer steps
    weights: dict[str, torch.Tensor]  # what is trained, by name
    optimizer: dict[str, Any]
    best: dict[str, torch.Tensor] | None = None  # the weights of the best validation, where they are others
    average: dict[str, torch.Tensor] | None = None  # their moving average, where there is one


def request_digest(request: TrainRequest) -> str:
    """Return the digest of what decides a training's result."""
    pictures = [list(each) for each in (request.examples, request.held_out, request.compared)]
    drawn = [request.drawing] if request.drawing else []
    watching = _WATCHING if drawn else _WATCHING | _DRAWING
    return digest_of([request.base, pictures, *drawn, request.settings.model_dump(exclude=watching)])


def require_same(kept: str, asked: str, path: Path, remove: str) -> None:
    """Check that what was kept at `path` is of the request that is asked for, by their digests.

    Raises:
        InputFault: it is of other settings, examples or another base model; the message says to `remove` it.
    """
    if kept != asked:
        message = (
            f"{path} belongs to a run with other settings, examples or base model: "
            f"remove {remove}, or train into another output folder"
        )
        raise InputFault(message)


def save_checkpoint(folder: Path, state: State, digest: str) -> Path:
    """Write a checkpoint into `folder`, drop all but the last two, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state.step:06}"
    beside = folder / f"{path.name}.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    save_file(_on_cpu(state.weights), beside / "weights.safetensors")
    for name, tensors in (("best", state.best), ("average", state.average)):
        if tensors is not None:
            save_file(_on_cpu(tensors), beside / f"{name}.safetensors")
    torch.save(state.optimizer, beside / "optimizer.pt")
    content = {"step": state.step, "request": digest}
    (beside / "state.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    for file in sorted(beside.iterdir()):
        _flush_to_disk(file)
    shutil.rmtree(path, ignore_errors=True)
    beside.replace(path)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return path


def load_checkpoint(folder: Path, digest: str) -> State | None:
    """Return the latest checkpoint of `folder`, or None where there is none.

    Raises:
        InputFault: it belongs to another request: other settings, examples or base model.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    path = found[-1]
    content = json.loads((path / "state.json").read_text(encoding="utf-8"))
    require_same(content["request"], digest, path, remove=str(folder))
    optimizer = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    files = [path / f"{name}.safetensors" for name in ("best", "average")]
    best, average = (load_file(file) if file.is_file() else None for file in files)
    return State(content["step"], load_file(path / "weights.safetensors"), optimizer, best, average)


class StepLog:
    """What steps gave as JSON lines; those after the checkpoint that a run resumes from are dropped."""

    def __init__(self, path: Path, finished_steps: int) -> None:
        self.path = path
        kept = [entry for entry in self.entries() if entry["step"] <= finished_steps]
        with whole_file(path) as beside:
            beside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        self._listeners: list[Callable[[dict[str, Any]], None]] = []

    def tell(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Tell a listener of every line that is there, and of those to come."""
        for entry in self.entries():
            listener(entry)
        self._listeners.append(listener)

    def write(self, entry: dict[str, Any]) -> None:
        """Add the line of one step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        for listener in self._listeners:
            listener(entry)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the whole lines; the last may have been cut off by a kill."""
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


class LossLog(StepLog):
    """The loss of every step."""

    def append(self, step: int, loss: float, learning_rate: float) -> None:
        """Add the line of one step."""
        self.write({"step": step, "loss": loss, "learning_rate": learning_rate})

    def final_loss(self) -> float:
        """Return the mean loss of the last tenth of the steps."""
        losses = [float(entry["loss"]) for entry in self.entries()]
        last = losses[-max(1, len(losses) // 10) :]
        return sum(last) / len(last)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of `folder`, the latest last."""
    whole = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())
    return sorted(whole, key=lambda path: int(path.name.removeprefix("step-")))


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _flush_to_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
