"""One resumable training loop for both halves of the recipe: AdamW, averaged weights, checkpoints."""

# mypy: disable-error-code="no-untyped-call"

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from data_contracts.digest import digest_of
from models.device import is_quick_in_bfloat16
from models.trainers.checkpoint import LossLog, State, load_checkpoint, save_checkpoint

BETAS = (0.9, 0.99)
CHECKPOINTS = 50
"""Checkpoints a run."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. Warm-up, a plateau, then a linear fall to zero over the last `fall` of the steps.

    The plateau's last checkpoint is kept in `plateau/`: put back in place of the later ones, it lets a run be
    lengthened without starting anew. Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations, 2024.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int
    warmup: int = 200
    fall: float = 0.25
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    max_gradient_norm: float = 1.0

    @property
    def fall_from(self) -> int:
        """The first step of the fall."""
        return round(self.steps * (1 - self.fall))

    def rate(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0."""
        rising = (step + 1) / (self.warmup + 1)
        falling = (self.steps - step) / max(1, self.steps - self.fall_from)
        return self.learning_rate * min(1.0, rising, falling)

    def digest(self) -> str:
        """Return what two runs must share so that one may go on from the other's checkpoint."""
        return digest_of([json.dumps({key: value for key, value in asdict(self).items() if key != "steps"})])


class Run:
    """A network in training; `train` goes on from the last checkpoint in `folder`."""

    def __init__(self, title: str, network: nn.Module, schedule: Schedule, folder: Path) -> None:
        self.title, self.network, self.schedule, self.folder = title, network, schedule, folder
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        kept = network.state_dict().keys()
        self.buffers = [values for name, values in network.named_buffers() if name in kept]
        self.optimizer = torch.optim.AdamW(
            self.parameters, schedule.learning_rate, BETAS, weight_decay=schedule.weight_decay, fused=True
        )
        self.average = EMAModel(self.parameters, decay=schedule.ema_decay, use_ema_warmup=True, power=0.75)
        self.done = 0
        folder.mkdir(parents=True, exist_ok=True)
        saved = load_checkpoint(folder, schedule.digest())
        if saved is not None:
            self._restore(saved)

    def train(self, loss: Callable[[int], torch.Tensor]) -> None:
        """Train by `loss(step)`, and leave the network with its averaged weights.

        `loss` must depend on the step alone: then a resumed run sees what an uninterrupted one would have.

        Raises:
            FloatingPointError: the loss is no longer a finite number.
        """
        log = LossLog(self.folder / "loss.jsonl", self.done)
        every = max(1, self.schedule.steps // CHECKPOINTS)
        # On a CPU, flash attention's backward pass is slow on so few tokens: 0.42 to 0.37 s a step without it.
        with _bars() as bars, sdpa_kernel([SDPBackend.MATH]):
            bar = bars.add_task(self.title, total=self.schedule.steps, completed=self.done, loss="")
            for step in range(self.done, self.schedule.steps):
                value = self._step(loss(step), step)
                log.append(step + 1, value, self.schedule.rate(step))
                bars.update(bar, completed=step + 1, loss=f"loss {value:.4f}")
                if step + 1 == self.schedule.fall_from:
                    self._keep(self.folder / "plateau", step + 1)
                if (step + 1) % every == 0 or step + 1 == self.schedule.steps:
                    self._keep(self.folder, step + 1)
        self.average.copy_to(self.parameters)

    def _step(self, loss: torch.Tensor, step: int) -> float:
        value = float(loss.detach())
        if not torch.isfinite(loss.detach()):
            message = f"{self.title}: loss {value} at step {step + 1}: lower the learning rate"
            raise FloatingPointError(message)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.schedule.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.step(self.parameters)
        return value

    def _keep(self, folder: Path, step: int) -> None:
        named: dict[str, torch.Tensor] = {f"now/{number}": value for number, value in enumerate(self.parameters)}
        named |= {f"average/{number}": value for number, value in enumerate(self.average.shadow_params)}
        named |= {f"buffer/{number}": value for number, value in enumerate(self.buffers)}
        save_checkpoint(folder, State(step, named, self.optimizer.state_dict()), self.schedule.digest())

    def _restore(self, saved: State) -> None:
        self.done = saved.step
        with torch.no_grad():
            for number, value in enumerate(self.parameters):
                value.copy_(saved.weights[f"now/{number}"])
                self.average.shadow_params[number].copy_(saved.weights[f"average/{number}"])
            for number, buffer in enumerate(self.buffers):
                buffer.copy_(saved.weights[f"buffer/{number}"])
        self.average.optimization_step = saved.step
        self.optimizer.load_state_dict(saved.optimizer)


def autocast(device: torch.device) -> torch.autocast:
    """Return the precision in which the recipe's networks compute, bfloat16 where it is quick; weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_quick_in_bfloat16(device))


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
