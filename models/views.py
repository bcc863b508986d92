"""Squares out of pictures: how training varies what is shown, and how a probe looks closer."""

# mypy: disable-error-code="no-untyped-call"

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional


@dataclass(frozen=True)
class View:
    """A square of each of N pictures: half its side `(N,)`, its middle x, y `(N, 2)`, whether it is mirrored `(N,)`.

    The picture's middle is 0, its half side 1.
    """

    side: torch.Tensor
    middle: torch.Tensor
    mirrored: torch.Tensor

    def of(self, part: slice) -> "View":
        """Return the views of `part` of the pictures."""
        return View(self.side[part], self.middle[part], self.mirrored[part])

    def pictures(
        self, pictures: torch.Tensor, size: int | None = None, mode: Literal["bilinear", "bicubic"] = "bilinear"
    ) -> torch.Tensor:
        """Return the squares `(N, 3, size, size)` of `pictures` `(N, 3, h, w)`, of their own size where none is given.

        Beyond a picture its edge goes on. Bicubic values may lie beyond those of the picture.
        """
        frames = torch.zeros(len(pictures), 2, 3, device=pictures.device)
        frames[:, 0, 0] = self._direction * self.side
        frames[:, 1, 1] = self.side
        frames[:, :, 2] = self.middle
        shape = list(pictures.shape) if size is None else [*pictures.shape[:2], size, size]
        grid = functional.affine_grid(frames, shape, align_corners=False)
        return functional.grid_sample(pictures, grid, mode=mode, padding_mode="border", align_corners=False)

    def heads(self, heads: torch.Tensor) -> torch.Tensor:
        """Return x, y and radius `(N, 3)` in the squares of `heads` in the pictures."""
        places = (heads[:, :2] - self.middle) / self.side[:, None]
        return torch.stack([self._direction * places[:, 0], places[:, 1], heads[:, 2] / self.side], dim=1)

    @property
    def _direction(self) -> torch.Tensor:
        return 1 - 2 * self.mirrored.float()
