"""The picture behind the characters, and for each of its pixels where it came from.

True pixels first: what the frame shows stays as it is, bit for bit; what other frames of the shot show is copied from
there; only the rest is guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint import Hole, Image, Inpainter
from models.inpaint.elsewhere import View, fill_from_elsewhere
from models.inpaint.neighbours import Neighbours

DILATION_AT_720P = 20  # pixels; residue of the character was gone at 20, not at 15


class Origin(IntEnum):
    """Where a pixel of a plate came from."""

    OWN = 0  # this frame shows it
    NEIGHBOUR = 1  # another frame shows it, of this shot or of another at the same place
    NETWORK = 2  # nobody shows it: guessed


@dataclass(frozen=True)
class PlateImage:
    """A frame without its characters."""

    image: Image  # (H, W, 3) RGB
    provenance: NDArray[np.uint8]  # (H, W), an `Origin` for each pixel

    def share(self, origin: Origin) -> float:
        """Return which part of the picture, 0..1, came from `origin`."""
        return float((self.provenance == origin).mean())


class ShotPlates:
    """Makes the plates of one shot; what is learnt of its frames for one plate serves the next.

    `masks` (H, W) bool hold all characters of each frame; they are dilated here.
    """

    def __init__(self, frames: Sequence[Image], masks: Sequence[Hole], inpainter: Inpainter) -> None:
        self._frames = frames
        self._holes = [dilate(mask) for mask in masks]
        self._neighbours = Neighbours(frames, self._holes)
        self._inpainter = inpainter

    def make(self, index: int, others: Sequence[View] = ()) -> PlateImage:
        """Return the plate of frame `index`; outside the dilated mask it equals the frame.

        What no frame of the shot shows is looked for in `others`, frames of other shots, before anything is guessed.

        Raises:
            ValueError: the characters cover the whole frame and no other frame shows what is behind them.
        """
        hole = self._holes[index]
        seen = self._neighbours.fill(index)
        provenance = np.full(hole.shape, Origin.OWN, np.uint8)
        provenance[hole] = Origin.NETWORK
        provenance[seen.known] = Origin.NEIGHBOUR
        image = self._frames[index].copy()
        image[seen.known] = seen.image[seen.known]
        unknown = hole & ~seen.known
        if others and unknown.any():
            elsewhere = fill_from_elsewhere(image, hole, unknown, others)
            image[elsewhere.known] = elsewhere.image[elsewhere.known]
            provenance[elsewhere.known] = Origin.NEIGHBOUR
            unknown &= ~elsewhere.known
        guessed = self._inpainter.fill(image, unknown) if unknown.any() else image
        image[unknown] = guessed[unknown]
        return PlateImage(image, provenance)


def make_plate(frames: Sequence[Image], holes: Sequence[Hole], index: int, inpainter: Inpainter) -> PlateImage:
    """Return the plate of frame `index` of a shot, from its frames (H, W, 3) and character masks (H, W) bool."""
    return ShotPlates(frames, holes, inpainter).make(index)


def dilate(mask: Hole) -> Hole:
    """Return `mask` (H, W) grown by 20 px at a height of 720, so that no rim of the character stays."""
    radius = max(1, round(DILATION_AT_720P * mask.shape[0] / 720))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)
