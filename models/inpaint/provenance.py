"""The picture behind the characters, and for each of its pixels where it came from.

True pixels first: what the frame shows stays as it is, bit for bit; what other frames of the shot show is copied from
there, what they do not show from other shots of the place; only the rest is guessed. What frames disagree on is told
apart from what they show alike: it may be looked at, but nothing is learnt from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.inpaint import Inpainter
from models.inpaint.elsewhere import View, fill_from_elsewhere
from models.inpaint.neighbours import Neighbours
from models.inpaint.residue import ResidueCheck
from models.registration import Hole, Image
from models.registration.masks import dilate

NEAR_AT_720P = 40  # pixels around a hole in which a character that is still seen counts
FAR_AT_720P = 100  # pixels from a mask, where hardly anything is a part of the character that it missed


class Origin(IntEnum):
    """Where a pixel of a plate came from."""

    OWN = 0  # this frame shows it
    NEIGHBOUR = 1  # another frame of the shot shows it
    NETWORK = 2  # nobody shows it: guessed
    OTHER_SHOT = 3  # another shot of the same place shows it, from another camera
    UNSURE = 4  # frames show it, but too few, or they disagree: the likeliest


NOT_TRUE = (Origin.NETWORK, Origin.UNSURE)
"""Pixels that may be wrong: nothing is learnt from them."""


@dataclass(frozen=True)
class PlateImage:
    """A frame without its characters."""

    image: Image  # (H, W, 3) RGB
    provenance: NDArray[np.uint8]  # (H, W), an `Origin` for each pixel
    residue: float  # area, as a share of the hole's, that still looks like a character, in the hole or close beside it

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
        self._check = ResidueCheck(frames, masks, [~dilate(mask, FAR_AT_720P) for mask in masks])
        self._neighbours = Neighbours(frames, self._holes, [self._missed(n) for n in range(len(frames))])
        self._inpainter = inpainter

    def make(self, index: int, others: Sequence[View] = ()) -> PlateImage:
        """Return the plate of frame `index`; outside the dilated mask and its shadows it equals the frame.

        What no frame of the shot shows is looked for in `others`, frames of other shots, before anything is guessed.

        Raises:
            ValueError: the characters cover the whole frame and no other frame shows what is behind them.
        """
        seen = self._neighbours.fill(index)
        image, hole, unknown = seen.image, seen.hole, seen.unknown
        provenance = np.full(hole.shape, Origin.OWN, np.uint8)
        provenance[hole] = Origin.NETWORK
        provenance[seen.known], provenance[seen.unsure] = Origin.NEIGHBOUR, Origin.UNSURE
        if others and unknown.any():
            elsewhere = fill_from_elsewhere(self._frames[index], seen, others)
            image, hole = elsewhere.image, elsewhere.hole
            unknown = elsewhere.unknown & ~seen.known & ~seen.unsure
            provenance[unknown] = Origin.NETWORK
            provenance[elsewhere.known], provenance[elsewhere.unsure] = Origin.OTHER_SHOT, Origin.UNSURE
        if unknown.any():
            image = np.where(unknown[..., None], self._inpainter.fill(image, unknown), image)
        left = self._check.find(image, dilate(hole, NEAR_AT_720P)).sum() / max(1, hole.sum())
        return PlateImage(image, provenance, min(1.0, float(left)))

    def _missed(self, index: int) -> Hole:
        """Return where the mask of a frame seems to have missed a character, with a rim like the hole's."""
        return dilate(self._check.find(self._frames[index], ~self._holes[index]))
