"""big-LaMa: a network that has seen many pictures guesses what is behind a hole, walls and windows going on.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022, arXiv 2109.07161. The
file is the TorchScript that Sanster made of the authors' checkpoint, the one that simple-lama-inpainting fetches; it is
opened only once its SHA-256 is right (`models.web_file.WebFile`), as TorchScript may hold code.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from models.device import gpu_or_cpu
from models.registration import Hole, Image

MULTIPLE = 8
"""Sides that the network takes are multiples of this: three halvings."""


class LamaInpainter:
    """An `Inpainter` on `big-lama.pt`, float32; on the GPU where there is one.

    Args:
        model: TorchScript that maps pictures `(N, 3, H, W)` in 0..1 and holes `(N, 1, H, W)`, 1 inside, to pictures.
    """

    def __init__(self, model: Path) -> None:
        self._device = gpu_or_cpu()
        loaded: Any = torch.jit.load(str(model), map_location=self._device)  # type: ignore[no-untyped-call]
        self._network = loaded.eval()

    def fill(self, image: Image, hole: Hole) -> Image:
        """Return `image` (H, W, 3) RGB uint8 with the pixels of `hole` (H, W) bool replaced; no other pixel changes.

        Raises:
            ValueError: the hole is the whole picture, or its size is not the picture's.
        """
        if hole.shape != image.shape[:2]:
            message = f"hole {hole.shape} and picture {image.shape[:2]} (height, width) must have one size"
            raise ValueError(message)
        if hole.all():
            message = "the hole is the whole picture: nothing is left to go by"
            raise ValueError(message)
        if not hole.any():
            return image.copy()
        picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
        inside = torch.from_numpy(hole.astype(np.float32))[None, None]  # (1, 1, H, W)
        with torch.inference_mode():
            guess = self._network(padded(picture).to(self._device), padded(inside).to(self._device)).float().cpu()
        height, width = hole.shape
        values = guess[0, :, :height, :width].permute(1, 2, 0).numpy()
        filled = image.copy()
        filled[hole] = np.clip(np.rint(255 * values), 0, 255).astype(np.uint8)[hole]
        return filled


def padded(values: torch.Tensor) -> torch.Tensor:
    """Return `(N, C, H, W)` with its last column and row repeated until its sides are multiples of eight."""
    height, width = values.shape[2:]
    return functional.pad(values, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
