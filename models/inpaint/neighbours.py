"""True background pixels for a hole, from frames of the same shot that show what it hides.

Each neighbour is laid over the frame by a homography, fitted again to what lies around the hole: before a camera that
moves a house shifts unlike the ground, and most matches need not lie at the depth of what is hidden. Of the samples
that a pixel gets this way the median is taken where they agree: a cast shadow that wanders through is outvoted. Where
they do not, as at the edge of what stands before the rest, the sample nearest in time is taken, which parallax has
moved least.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint import Hole, Image
from models.inpaint.alignment import Features, find_features, find_homography, spread
from models.inpaint.likeness import CUT, EDGE, contrast, difference
from models.inpaint.masks import pixels_of
from models.inpaint.planes import Homography, is_plausible, move, refit

MOST_NEIGHBOURS = 16
NEAR_AT_720P = 275  # pixels around a hole to which a neighbour is fitted again
MAX_SAMPLES = 9  # of one pixel; the nearest in time, where parallax is least
MAX_DISAGREEMENT = 22.0  # grey levels, median over samples of the largest channel's distance from their median


@dataclass(frozen=True)
class NeighbourFill:
    """A frame with what its neighbours know of its hole."""

    image: Image  # (H, W, 3), changed inside `known` only
    known: Hole  # (H, W), part of the hole


class Neighbours:
    """The frames (H, W, 3) and holes (H, W) of one shot; features are found once a frame, when first needed.

    `doubts` (H, W) are pixels outside the hole that may be no scenery either: they are taken where nothing else is.
    """

    def __init__(self, frames: Sequence[Image], holes: Sequence[Hole], doubts: Sequence[Hole] = ()) -> None:
        if len(frames) != len(holes):
            message = f"{len(frames)} frames came with {len(holes)} holes; each frame of a shot needs its own"
            raise ValueError(message)
        self._frames, self._holes = frames, holes
        self._doubts = doubts or [np.zeros_like(hole) for hole in holes]
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
        known[window] = seen.any(axis=0) & hole[window]
        filled = image.copy()
        filled[known] = _settle(samples, seen)[known[window]]
        return NeighbourFill(filled, known)

    def _samples(self, index: int, window: tuple[slice, slice]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return (n, h, w, 3) pixels and (n, h, w) whether they are seen, of neighbours by distance in time."""
        order = sorted(spread(index, len(self._frames), MOST_NEIGHBOURS), key=lambda other: (abs(other - index), other))
        target = self._features_of(index)
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        offset = np.array([[1, 0, -window[1].start], [0, 1, -window[0].start], [0, 0, 1]], np.float64)
        samples, seen, sure = [], [], []
        for other in order:
            matrix = find_homography(self._features_of(other), target)
            if matrix is None:
                continue
            if not np.array_equal(matrix, np.eye(3)):  # a camera that stands still is copied, never resampled
                matrix = self._fitted_again(other, index, matrix)
            samples.append(cv2.warpPerspective(self._frames[other], offset @ matrix, size, flags=cv2.INTER_CUBIC))
            seen.append(~_moved(self._holes[other], offset @ matrix, size))
            sure.append(~_moved(self._holes[other] | self._doubts[other], offset @ matrix, size))
        return np.array(samples, np.uint8), _surest(np.array(seen, np.bool_), np.array(sure, np.bool_))

    def _fitted_again(self, other: int, index: int, matrix: Homography) -> Homography:
        """Return `matrix`, frame `other` to frame `index`, or what fits the edges around the hole better."""
        image, hole = self._frames[index], self._holes[index]
        distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
        moved, seen = move(self._frames[other], self._holes[other], matrix, (hole.shape[1], hole.shape[0]))
        near = ~hole & seen & (distance < pixels_of(NEAR_AT_720P, hole.shape[0]))
        ys, xs = np.nonzero(hole)
        at = (float(xs.mean()), float(ys.mean()))
        closer = next((fit for fit in refit(moved, image, near) if is_plausible(fit, at)), None)
        edges = near & (contrast(image) > EDGE)
        if closer is None or not edges.any():
            return matrix
        again, _ = move(self._frames[other], self._holes[other], closer @ matrix, (hole.shape[1], hole.shape[0]))
        before, after = (np.minimum(difference(one, image), CUT)[edges].mean() for one in (moved, again))
        return closer @ matrix if after < before else matrix

    def _features_of(self, index: int) -> Features:
        if index not in self._features:
            self._features[index] = find_features(self._frames[index], self._holes[index])
        return self._features[index]


def _moved(mask: Hole, matrix: NDArray[np.float64], size: tuple[int, int]) -> Hole:
    """Return which pixels of a picture of `size` (width, height) the moved mask touches; all beyond its borders too."""
    return np.asarray(cv2.warpPerspective(mask.astype(np.uint8) * 255, matrix, size, borderValue=255) > 0)


def _surest(seen: NDArray[np.bool_], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the `sure` samples (n, h, w) of the pixels that have one, all `seen` ones of the others."""
    return np.where(sure.any(axis=0), sure, seen) if len(seen) else seen


def _settle(samples: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (h, w, 3): the median of the seen samples where they agree, else the first of them.

    `samples` (n, h, w, 3) are the nearest in time first; what no sample shows, by `seen` (n, h, w), is of no meaning.
    """
    nearest = seen & (np.cumsum(seen, axis=0) <= MAX_SAMPLES)
    values = np.where(nearest[..., None], samples.astype(np.float32), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that nobody shows is the normal case
        median = np.nanmedian(values, axis=0)
        apart = np.nanmedian(np.abs(values - median).max(axis=-1), axis=0)
    first = np.take_along_axis(samples, seen.argmax(axis=0)[None, ..., None], axis=0)[0]
    settled = np.where((apart > MAX_DISAGREEMENT)[..., None], first, np.nan_to_num(median).round())
    return np.asarray(settled, np.uint8)
