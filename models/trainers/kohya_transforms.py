"""The transforms that sd-scripts' training takes from torchvision, which does not go with a CPU build of torch.

Imported in sd-scripts' environment under the name `torchvision.transforms`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike


class Compose:
    """One transform after another."""

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, value: Any) -> Any:  # noqa: ANN401
        """Return what the last transform makes of the value."""
        for step in self.steps:
            value = step(value)
        return value


class ToTensor:
    """Pixels (H, W, 3) uint8, as an array or a Pillow image, to a tensor (3, H, W) float32 in 0..1."""

    def __call__(self, picture: ArrayLike) -> torch.Tensor:
        """Return the tensor."""
        pixels = torch.from_numpy(np.array(picture, np.uint8))
        return pixels.permute(2, 0, 1).contiguous().float() / 255


class Normalize:
    """`(value - mean) / std`, of one number for all channels or one for each."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (mean, std))

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the tensor (C, H, W), normalised."""
        return (value - self.mean) / self.std
