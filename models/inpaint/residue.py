"""What is left of a character where scenery should be: pixels that look like characters and like nothing else.

A mask that misses a part of its character leaves that part beside the hole, and neighbours carry it into the holes of
other frames as if it were scenery. Colours tell: those that the characters of a shot have and its scenery has not
(backprojection of the ratio of two histograms: Swain and Ballard, "Color indexing", 1991, section 3). A character in
the colours of the scenery is not told, and nothing is where a shot shows too little scenery to know its colours.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint.palettes import smoothed
from models.registration import Hole, Image
from models.registration.masks import pixels_of, shrink

BINS = 32  # a channel of Lab
MIN_RATIO = 8.0  # times that a colour is more frequent in characters than in scenery
MIN_FREQUENCY = 2e-4  # of the characters' pixels; rarer colours are noise
MIN_SCENERY = 0.1  # of all pixels of a shot; a close-up shows none of the colours that turn up behind it
RIM_AT_720P = 5  # pixels inside a mask that may be scenery
SPECK_AT_720P = 12  # pixels; what is thinner is the mixture of two colours along an edge
Histogram = NDArray[np.float64]


class ResidueCheck:
    """Knows the colours that only the characters of a shot have.

    Args:
        frames: (H, W, 3) RGB uint8.
        masks: (H, W) bool, where characters are.
        scenery: (H, W) bool, what is surely none of them.
    """

    def __init__(self, frames: Sequence[Image], masks: Sequence[Hole], scenery: Sequence[Hole]) -> None:
        inside = [shrink(mask, pixels_of(RIM_AT_720P, mask.shape[0])) for mask in masks]
        characters = _histogram(zip(frames, inside, strict=True))
        elsewhere = _histogram(zip(frames, scenery, strict=True))
        known = float(np.mean([part.mean() for part in scenery])) >= MIN_SCENERY
        self._telling = known & (characters > MIN_FREQUENCY) & (characters > MIN_RATIO * elsewhere)

    def find(self, image: Image, within: Hole) -> Hole:
        """Return where `within` (H, W) of `image` (H, W, 3) shows a character (H, W); single pixels do not count."""
        seen = np.zeros(within.shape, bool)
        if not self._telling.any():
            return seen
        seen[within] = self._telling[_colours(image[within])]
        side = pixels_of(SPECK_AT_720P, within.shape[0])
        return np.asarray(cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8)) > 0)


def _histogram(parts: Iterable[tuple[Image, Hole]]) -> Histogram:
    """Return the frequency (BINS^3,) of each colour inside the parts, smoothed over the nearest bins."""
    counts = np.zeros(BINS**3)
    for image, inside in parts:
        counts += np.bincount(_colours(image[inside]), minlength=BINS**3)
    cube = counts.reshape(BINS, BINS, BINS) / max(counts.sum(), 1)
    return np.asarray(smoothed(cube).ravel())


def _colours(pixels: Image) -> NDArray[np.int64]:
    """Return the bin (n,) of each of `pixels` (n, 3)."""
    if not len(pixels):
        return np.zeros(0, np.int64)
    lab = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0].astype(np.int64) * BINS // 256
    return np.asarray((lab[:, 0] * BINS + lab[:, 1]) * BINS + lab[:, 2])
