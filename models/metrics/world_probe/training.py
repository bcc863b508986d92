"""Train the probe: stills of the world, mirrored, shifted, blurred and noised as generated pictures are."""

# mypy: disable-error-code="no-untyped-call"

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.progress import track
from torch import nn
from torch.nn import functional

from models.metrics.world_probe.examples import UNKNOWN
from models.metrics.world_probe.network import CLASSES, ProbeNetwork
from models.seeds import seeded_generator
from models.stills import unit_range

SHIFT = 6
"""Pixels, at most, by which a picture is moved."""


@dataclass(frozen=True)
class Course:
    """How long and how fast the probe learns."""

    epochs: int = 24
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 3


def train_probe(pictures: torch.Tensor, labels: torch.Tensor, course: Course) -> ProbeNetwork:
    """Return a probe trained on `pictures` (N, 3, 128, 128) uint8 and classes (N, attributes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        network = ProbeNetwork()
        batches = len(pictures) // course.batch
        optimizer = torch.optim.AdamW(network.parameters(), course.learning_rate, weight_decay=course.weight_decay)
        steps = course.epochs * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, course.learning_rate, steps)
        for epoch in track(range(course.epochs), "world probe"):
            order = torch.randperm(len(pictures), generator=seeded_generator(course.seed, "order", epoch))
            for batch in range(batches):
                chosen = order[batch * course.batch : (batch + 1) * course.batch]
                generator = seeded_generator(course.seed, "example", epoch * batches + batch)
                seen = disturb(pictures[chosen], generator)
                loss = probe_loss(network(seen), labels[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return copy.deepcopy(network).eval()


def probe_loss(logits: Mapping[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the sum over the attributes of the mean cross-entropy of the pictures where the attribute is known."""
    losses = [
        functional.cross_entropy(logits[name], labels[:, place], ignore_index=UNKNOWN, label_smoothing=0.02)
        for place, name in enumerate(CLASSES)
        if bool((labels[:, place] != UNKNOWN).any())
    ]
    return torch.stack(losses).sum()


def disturb(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return uint8 pictures as float32 in -1..1: mirrored, moved, dimmed, blurred and noised at random."""
    values = unit_range(pictures)
    count = len(values)
    mirrored = torch.rand(count, generator=generator) < 0.5  # noqa: PLR2004  half of them
    values[mirrored] = values[mirrored].flip(-1)
    padded = functional.pad(values, (SHIFT,) * 4, mode="replicate")
    moves = torch.randint(2 * SHIFT + 1, (count, 2), generator=generator).tolist()
    size = values.shape[-1]
    values = torch.stack(
        [part[:, top : top + size, left : left + size] for part, (top, left) in zip(padded, moves, strict=True)]
    )
    blurred = functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    values = values + share * (blurred - values)
    contrast = 1 + 0.1 * (2 * torch.rand((count, 1, 1, 1), generator=generator) - 1)
    light = 0.1 * (2 * torch.rand((count, 1, 1, 1), generator=generator) - 1)
    noise = 0.05 * torch.rand((count, 1, 1, 1), generator=generator) * torch.randn(values.shape, generator=generator)
    return values * contrast + light + noise
