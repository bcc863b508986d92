"""What moves an adapter: AdamW, its moments in 32 bits or in 8."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from models.backends import Backend, Backends
from models.weights import BITSANDBYTES

if TYPE_CHECKING:
    import torch


def _adamw() -> "Callable[..., torch.optim.Optimizer]":
    from torch.optim import AdamW  # noqa: PLC0415

    return partial(AdamW, fused=True)  # one call for all values: a quarter of the time


def _adamw8bit() -> "Callable[..., torch.optim.Optimizer]":
    from bitsandbytes.optim.adamw import AdamW8bit  # noqa: PLC0415

    return AdamW8bit


OPTIMIZERS: "Backends[Callable[..., torch.optim.Optimizer]]" = Backends(
    "optimizer", {"adamw": Backend(_adamw), "adamw8bit": Backend(_adamw8bit, (BITSANDBYTES,))}
)
"""Classes that take parameters, `lr` and `weight_decay`. Dettmers et al., 8-bit Optimizers, 2022."""
