"""True background pixels for a hole, from frames of the same shot that show what it hides.

Each neighbour is laid over the frame by a homography; of the samples that a pixel gets this way the median is taken,
and only where they agree. A cast shadow that wanders through is outvoted too.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint import Hole, Image
from models.inpaint.alignment import Features, find_features, find_homography, spread

MOST_NEIGHBOURS = 16
MAX_SAMPLES = 9  # of one pixel; the nearest in time, where parallax is least
MAX_DISAGREEMENT = 22.0  # grey levels, median over samples of the largest channel's distance from their median


@dataclass(frozen=True)
class NeighbourFill:
    """A frame with what its neighbours know of its hole."""

    image: Image  # (H, W, 3), changed inside `known` only
    known: Hole  # (H, W), part of the hole


class Neighbours:
    """The frames (H, W, 3) and holes (H, W) of one shot; features are found once a frame, when first needed."""

    def __init__(self, frames: Sequence[Image], holes: Sequence[Hole]) -> None:
        if len(frames) != len(holes):
            message = f"{len(frames)} frames came with {len(holes)} holes; each frame of a shot needs its own"
            raise ValueError(message)
        self._frames, self._holes = frames, holes
        self._features: dict[int, Features] = {}

    def fill(self, index: int) -> NeighbourFill:
        """Return frame `index` with the pixels of its hole that other frames show."""
        image, hole = self._frames[index], self._holes[index]
        known = np.zeros_like(hole)
        if not hole.any():
            return NeighbourFill(image, known)
        ys, xs = np.nonzero(hole)
        window = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
        samples, seen = self._samples(index, window)
        if not len(samples):
            return NeighbourFill(image, known)
        median, agreed = _agree(samples, seen)
        known[window] = agreed & hole[window]
        filled = image.copy()
        filled[known] = median[known[window]]
        return NeighbourFill(filled, known)

    def _samples(self, index: int, window: tuple[slice, slice]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return (n, h, w, 3) pixels and (n, h, w) whether they are seen, of neighbours by distance in time."""
        order = sorted(spread(index, len(self._frames), MOST_NEIGHBOURS), key=lambda other: (abs(other - index), other))
        target = self._features_of(index)
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        offset = np.array([[1, 0, -window[1].start], [0, 1, -window[0].start], [0, 0, 1]], np.float64)
        samples, seen = [], []
        for other in order:
            matrix = find_homography(self._features_of(other), target)
            if matrix is None:
                continue
            moved = cv2.warpPerspective(self._frames[other], offset @ matrix, size, flags=cv2.INTER_CUBIC)
            hole = self._holes[other].astype(np.uint8) * 255
            hidden = np.asarray(cv2.warpPerspective(hole, offset @ matrix, size, borderValue=255))
            samples.append(moved)
            seen.append(hidden == 0)
        return np.array(samples, np.uint8), np.array(seen, np.bool_)

    def _features_of(self, index: int) -> Features:
        if index not in self._features:
            self._features[index] = find_features(self._frames[index], self._holes[index])
        return self._features[index]


def fill_from_neighbours(frames: Sequence[Image], holes: Sequence[Hole], index: int) -> NeighbourFill:
    """Return frame `index` of a shot with what its other frames show of its hole (see `Neighbours`)."""
    return Neighbours(frames, holes).fill(index)


def _agree(samples: NDArray[np.uint8], seen: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the median (h, w, 3) of the seen samples, and where they agree; one sample agrees with itself."""
    nearest = seen & (np.cumsum(seen, axis=0) <= MAX_SAMPLES)
    values = np.where(nearest[..., None], samples.astype(np.float32), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that nobody shows is the normal case
        median = np.nanmedian(values, axis=0)
        apart = np.nanmedian(np.abs(values - median).max(axis=-1), axis=0)
    agreed = nearest.any(axis=0) & (np.nan_to_num(apart, nan=np.inf) <= MAX_DISAGREEMENT)
    return np.nan_to_num(median).round().astype(np.uint8), np.asarray(agreed)
