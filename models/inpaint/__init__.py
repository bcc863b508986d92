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

from models.backends import Backend, Backends

Image = NDArray[np.uint8]
Hole = NDArray[np.bool_]


class Inpainter(Protocol):
    """Guesses the pixels of a hole from the rest of the picture."""

    def fill(self, image: Image, hole: Hole) -> Image:
        """Return `image` (H, W, 3) RGB uint8 with the pixels of `hole` (H, W) bool replaced; no other pixel changes.

        Raises:
            ValueError: the hole is the whole picture, or its size is not the picture's.
        """
        ...


def _patchmatch() -> Inpainter:
    from models.inpaint.patchmatch import PatchMatchInpainter  # noqa: PLC0415

    return PatchMatchInpainter()


INPAINTERS: Backends[Inpainter] = Backends("inpainter", {"patchmatch": Backend(_patchmatch)})
