"""A moving average of an adapter's weights, which is steadier than the weights of any one step.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. The first steps count for little, as
in diffusers' `EMAModel`: after n steps the average keeps (1 + n) / (10 + n) of itself, or as much as asked for.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from models.trainers.step import Adapter


class Average:
    """The average of one adapter's weights, as it is without a step until it is told of one."""

    def __init__(self, adapter: Adapter, decay: float) -> None:
        """Begin at the adapter's weights; `decay` is what the average keeps of itself at each step, 0..1."""
        self.adapter, self.decay = adapter, decay
        self.values = {name: value.clone() for name, value in adapter.tensors().items()}

    def follow(self, step: int) -> None:
        """Take in the adapter's weights after `step` finished steps."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, value in self.adapter.tensors().items():
            self.values[name].lerp_(value, 1 - kept)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the average to what `values` was earlier."""
        for name, value in self.values.items():
            value.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the adapter work with the average; afterwards it has its own weights again."""
        own = {name: value.clone() for name, value in self.adapter.tensors().items()}
        self.adapter.load(self.values)
        try:
            yield
        finally:
            self.adapter.load(own)
