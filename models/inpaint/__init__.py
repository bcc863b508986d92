"""What is behind a character: one protocol for networks that guess, and its backends by their config names.

| name         | backend                                                              | weights                 |
|--------------|----------------------------------------------------------------------|-------------------------|
| `patchmatch` | exemplar-based completion over a pyramid, copies patches of the plate | none; BSD-3 (PyPI)      |

True pixels come first: `provenance.make_plate` takes what other frames of the shot show and asks a network for what
is left.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backend_names import require_known

Image = NDArray[np.uint8]
Hole = NDArray[np.bool_]
INPAINTERS = ("patchmatch",)


class Inpainter(Protocol):
    """Guesses the pixels of a hole from the rest of the picture."""

    def fill(self, image: Image, hole: Hole) -> Image:
        """Return `image` (H, W, 3) RGB uint8 with the pixels of `hole` (H, W) bool replaced; no other pixel changes.

        Raises:
            ValueError: the hole is the whole picture, or its size is not the picture's.
        """
        ...


def load_inpainter(name: str) -> Inpainter:
    """Return the inpainter called `name` in the configuration.

    Raises:
        ValueError: no backend has this name.
    """
    require_known("inpainter", name, INPAINTERS)
    from models.inpaint.patchmatch import PatchMatchInpainter  # noqa: PLC0415

    return PatchMatchInpainter()
