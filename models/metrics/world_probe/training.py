"""Train the probe: stills of the world, mirrored, reframed, blurred and noised as generated pictures are."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track
from torch import nn
from torch.nn import functional

from models.device import is_quick_in_bfloat16
from models.metrics.world_probe.examples import UNKNOWN, Examples
from models.metrics.world_probe.network import CLASSES, ProbeNetwork
from models.seeds import seeded_generator
from models.stills import unit_range
from models.views import View

SHIFT = 0.1
"""Of half the picture, at most, by which it is moved."""
NEARER, NEAREST = 0.6, 2.2
"""Share of the pictures of which only a part is shown, and by how much it is enlarged at most."""
SAME_SHOT, CLOSE_UP = 1.15, 0.36
"""Enlarged by more, a picture is of another shot size; in front of a larger head, no pose can be told."""
ASTRAY = 0.15
"""Radii, at most, by which a head is misplaced while training: at work it is where the network believes it to be."""
HEAD_WEIGHT = 10.0


@dataclass(frozen=True)
class Course:
    """How long and how fast the probe learns."""

    epochs: int = 16
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 3


def train_probe(examples: Examples, course: Course) -> ProbeNetwork:
    """Return a probe that has learnt the examples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        # Channels last and half precision: a third of the time on two CPU cores.
        network: Any = ProbeNetwork()
        network.to(memory_format=torch.channels_last)
        batches = len(examples.pictures) // course.batch
        optimizer = torch.optim.AdamW(network.parameters(), course.learning_rate, weight_decay=course.weight_decay)
        steps = course.epochs * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, course.learning_rate, steps)
        for step in track(range(steps), "world probe"):
            epoch, batch = divmod(step, batches)
            order = torch.randperm(len(examples.pictures), generator=seeded_generator(course.seed, "order", epoch))
            chosen = order[batch * course.batch : (batch + 1) * course.batch]
            generator = seeded_generator(course.seed, "example", step)
            pictures, labels, heads = disturb(examples.of(chosen), generator)
            with torch.autocast(pictures.device.type, torch.bfloat16, enabled=is_quick_in_bfloat16(pictures.device)):
                logits, found = network(pictures, misplace(heads, generator))
            loss = probe_loss(logits, labels) + HEAD_WEIGHT * head_loss(found, heads)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    trained: ProbeNetwork = network.eval()
    return trained


def probe_loss(logits: Mapping[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the sum over the attributes of the mean cross-entropy of the pictures where the attribute is known."""
    losses = [
        functional.cross_entropy(logits[name].float(), labels[:, place], ignore_index=UNKNOWN, label_smoothing=0.02)
        for place, name in enumerate(CLASSES)
        if bool((labels[:, place] != UNKNOWN).any())
    ]
    return torch.stack(losses).sum()


def head_loss(found: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
    """Return how far the heads `(N, 3)` that were found are from the true ones, where there is one."""
    known = ~heads.isnan().any(dim=1)
    if not bool(known.any()):
        return found.sum() * 0
    return functional.smooth_l1_loss(found[known], heads[known], beta=0.05)


def misplace(heads: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return heads `(N, 3)` a little beside the true ones; where nobody is, one in the middle."""
    errors = ASTRAY * (2 * torch.rand(heads.shape, generator=generator) - 1)
    somewhere = torch.tensor([0.0, 0.0, 0.3])
    known = torch.where(heads.isnan(), somewhere, heads)
    return known + errors * known[:, 2:]


def disturb(examples: Examples, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the examples' pictures as float32 in -1..1, their labels and their heads.

    They are mirrored, moved, come nearer, are dimmed, blurred and noised; labels that no longer hold become unknown.
    """
    values = unit_range(examples.pictures)
    view = _closer(examples.heads, generator)
    values, heads = view.pictures(values), view.heads(examples.heads)
    labels = _forget(examples.labels, "shot", view.side < 1 / SAME_SHOT)
    labels = _forget(labels, "pose", heads[:, 2] > CLOSE_UP)
    blurred = functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    draws = torch.rand((4, len(values), 1, 1, 1), generator=generator)
    values = values + draws[0] * (blurred - values)
    contrast, light = 0.9 + 0.2 * draws[1], 0.1 * (2 * draws[2] - 1)
    noise = 0.05 * draws[3] * torch.randn(values.shape, generator=generator)
    return values * contrast + light + noise, labels, heads


def _closer(heads: torch.Tensor, generator: torch.Generator) -> View:
    """Return how each picture is seen: the film, and pictures by LoRAs that learnt from it, hold closer faces."""
    draws = torch.rand((5, len(heads)), generator=generator)
    side = torch.where(draws[0] < NEARER, NEAREST ** -draws[1], 1.0)
    known = torch.where(heads.isnan(), 0.0, heads)
    middle = known[:, :2] * (1 - side[:, None]) + SHIFT * (2 * draws[2:4].T - 1) * side[:, None]
    return View(side, middle, draws[4] < 0.5)  # noqa: PLR2004  half of them


def _forget(labels: torch.Tensor, name: str, where: torch.Tensor) -> torch.Tensor:
    place = list(CLASSES).index(name)
    labels = labels.clone()
    labels[where, place] = UNKNOWN
    return labels
