"""Which generated pictures repeat a training picture instead of showing the subject anew.

The rule: a picture is a copy when it lies less than half as far from its nearest training picture as from its nearest
held-out one. That real pictures which nobody learnt from are the yardstick is Meehan, Chaudhuri, Dasgupta, "A
Non-Parametric Test to Detect Data-Copying in Generative Models", arXiv 2004.05675; that a memorised picture lies within
half the usual distance of one training picture, and that pixels are compared, is Carlini et al., "Extracting Training
Data from Diffusion Models", arXiv 2301.13188, section 5.

Compared are layouts: thumbnails without their mean colour, at length one, so that neither brightness nor contrast
counts. Those of the known pictures are also taken mirrored and of parts, so that a mirrored or cropped copy is found.
A copy turned by an angle, or a figure copied onto another ground, is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings, unit_rows
from models.pictures import Picture

HALF = 0.5
LEAST_HELD_OUT = 5
"""Held-out pictures from which their distance is a yardstick."""
SIDE = 16
REDUCED = 96
PARTS = (1.0, 0.92, 0.85, 0.78, 0.7)
"""Sides of the squares that a copy may show of a training picture, in sides of the picture."""


@dataclass(frozen=True)
class Nearest:
    """How far a picture is from what is known, 0..2."""

    training: int  # number of the training picture
    to_training: float
    to_held_out: float

    @property
    def is_copy(self) -> bool:
        """Whether the picture repeats a training picture."""
        return self.to_training < HALF * self.to_held_out


class Layouts:
    """The layouts of pictures, of their parts, and of their mirror images."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        """Take the layouts of `(H, W, 3) RGB` uint8 pictures, one at a time in memory."""
        found = [unit_rows(np.stack(list(_thumbnails(picture)))) for picture in pictures]
        self._rows = np.stack(found) if found else np.zeros((0, 1, SIDE * SIDE * 3), np.float32)  # (n, parts, d)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._rows)

    def nearest(self, layout: Embeddings) -> tuple[int, float]:
        """Return the number of the picture whose layout, or a part's, is nearest, and how far it is, 0..2."""
        cosines = (self._rows @ layout).max(axis=1)  # (n,)
        number = int(cosines.argmax())
        return number, float(np.sqrt(max(0.0, 2 - 2 * float(cosines[number]))))


def nearest(picture: Picture, training: Layouts, held_out: Layouts) -> Nearest | None:
    """Return what a picture, `(H, W, 3) RGB` uint8, lies nearest to; None where there is too little to compare with."""
    if not len(training) or len(held_out) < LEAST_HELD_OUT:
        return None
    layout = unit_rows(next(_thumbnails(picture))[None])[0]
    number, to_training = training.nearest(layout)
    return Nearest(number, to_training, held_out.nearest(layout)[1])


def _thumbnails(picture: Picture) -> Iterator[NDArray[np.float32]]:
    """Yield `(SIDE * SIDE * 3,)` of the whole picture, then of its mirror image and of the parts of both."""
    small = cv2.resize(picture, (REDUCED, REDUCED), interpolation=cv2.INTER_AREA)
    for share in PARTS:
        side = round(REDUCED * share)
        starts = sorted({0, (REDUCED - side) // 2, REDUCED - side})
        for top, left in product(starts, starts):
            part = cv2.resize(small[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            centred = part.astype(np.float32) - part.mean(axis=(0, 1), dtype=np.float32)
            yield centred.ravel()
            yield centred[:, ::-1].ravel()
