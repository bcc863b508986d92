"""True background pixels for a hole, from frames of the same shot that show what it hides.

Each neighbour is laid over the frame by a homography, fitted again to what lies around the hole: before a camera that
moves a house shifts unlike the ground, and most matches need not lie at the depth of what is hidden. Of the samples
that a pixel gets this way the median is taken where they agree: a cast shadow that wanders through is outvoted. Where
they do not, as at the edge of what stands before the rest, the sample nearest in time is taken, which parallax has
moved least. The frame's own shadows, where its neighbours show their ground without them, are a part of the hole.
Where laying neighbours at the depth of each pixel (`parallax`) explains what is visible around the hole better than
planes do, that is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint.parallax import find_parallax, follow, grid_of, shown_at, sweep
from models.inpaint.planes import Homography, is_plausible, move, refit
from models.inpaint.shadows import shadows_of
from models.registration import Hole, Image
from models.registration.alignment import Features, find_features, find_homography, spread
from models.registration.likeness import CUT, EDGE, contrast, difference, weight_of
from models.registration.masks import Window, extent, pixels_of, wider
from models.registration.samples import settle

MOST_NEIGHBOURS = 16
NEAR_AT_720P = 275  # pixels around a hole to which a neighbour is fitted again
JUDGED_AT_720P = 70  # pixels around a hole in which planes and depths are compared
MOST_SWEPT = 8  # neighbours, the nearest in time

Samples = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class NeighbourFill:
    """A frame with what its neighbours know of its hole."""

    image: Image  # (H, W, 3), changed inside `known` only
    hole: Hole  # (H, W), with the shadows that hang together with it
    known: Hole  # (H, W), part of the hole


@dataclass(frozen=True)
class _Laid:
    """A neighbour laid over the frame."""

    pixels: Image  # (h, w, 3)
    seen: Hole  # (h, w), where it shows no character
    sure: Hole  # (h, w), and nothing that may be one
    frame: int
    matrix: Homography  # from the neighbour to the frame, along one plane

    def cut(self, window: Window) -> "_Laid":
        """Return the part within a window of rows and columns."""
        return replace(self, pixels=self.pixels[window], seen=self.seen[window], sure=self.sure[window])

    def doubting(self, where: Hole) -> "_Laid":
        """Return the same, made use of in `where` only if no other neighbour shows it."""
        return replace(self, sure=self.sure & ~where)

    def only(self, where: Hole) -> "_Laid":
        """Return the same, seen nowhere but in `where`."""
        return replace(self, seen=self.seen & where, sure=self.sure & where)


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
        laid = self._laid(index) if hole.any() else []
        if not laid:
            return NeighbourFill(image, hole, known)
        shadow, *others = shadows_of([(image, ~hole), *((one.pixels, one.seen) for one in laid)])
        hole, laid = hole | shadow, [one.doubting(other) for one, other in zip(laid, others, strict=True)]
        window = extent(hole)
        samples, seen = self._by_depth(index, hole, laid, window) or _stacked([one.cut(window) for one in laid])
        known[window] = seen.any(axis=0) & hole[window]
        filled = image.copy()
        filled[known] = settle(samples, seen)[known[window]]
        return NeighbourFill(filled, hole, known)

    def _laid(self, index: int) -> list[_Laid]:
        """Return the neighbours of frame `index`, each laid over it along one plane, the nearest in time first."""
        order = sorted(spread(index, len(self._frames), MOST_NEIGHBOURS), key=lambda other: (abs(other - index), other))
        target, size = self._features_of(index), self._holes[index].shape[::-1]
        laid = []
        for other in order:
            matrix = find_homography(self._features_of(other), target)
            if matrix is None:
                continue
            if not np.array_equal(matrix, np.eye(3)):  # a camera that stands still is copied, never resampled
                matrix = self._fitted_again(other, index, matrix)
            pixels = cv2.warpPerspective(self._frames[other], matrix, size, flags=cv2.INTER_CUBIC)
            doubtful = self._holes[other] | self._doubts[other]
            seen, sure = (~_moved(mask, matrix, size) for mask in (self._holes[other], doubtful))
            laid.append(_Laid(np.asarray(pixels, np.uint8), seen, sure, other, matrix))
        return laid

    def _by_depth(self, index: int, hole: Hole, laid: Sequence[_Laid], window: Window) -> Samples | None:
        """Return samples laid at the depth of each pixel, or None where planes explain what surrounds `hole` better.

        Depths are found without the frame itself, inside the hole and around it, so that the frame can judge them.
        """
        image = self._frames[index]
        swept = [one for one in laid if not np.array_equal(one.matrix, np.eye(3))][:MOST_SWEPT]
        if len(swept) < 2:  # noqa: PLR2004
            return None
        near = ~hole & _around(hole, NEAR_AT_720P)
        sightings = follow(image, [one.pixels for one in swept], [near & one.seen for one in swept])
        if (parallax := find_parallax(sightings, float(max(hole.shape)))) is None:
            return None
        wide = wider(window, pixels_of(JUDGED_AT_720P, hole.shape[0]), hole.shape)
        depth = sweep(parallax, [one.pixels for one in swept], [one.seen for one in swept], wide)
        grid, deep = grid_of(wide), []
        for n in np.flatnonzero(parallax.trusted).tolist():
            other, points = swept[n].frame, parallax.displaced(n, parallax.undisplaced(n, grid), depth)
            back = np.asarray(np.linalg.inv(swept[n].matrix), np.float64)
            pixels, seen = shown_at(self._frames[other], self._holes[other], back, points)
            sure = seen & shown_at(swept[n].pixels, ~swept[n].sure, np.eye(3), points)[1]
            deep.append(_Laid(pixels, seen, sure, other, swept[n].matrix))
        flat = [one.cut(wide) for one in laid]
        if not self._better_by_depth(index, near, wide, flat, deep):
            return None
        by_depth = np.any([one.seen for one in deep], axis=0)
        top, left = (part.start - out.start for part, out in zip(window, wide, strict=True))
        height, width = (part.stop - part.start for part in window)
        inner = slice(top, top + height), slice(left, left + width)
        chosen = [*(one.only(by_depth) for one in deep), *(one.only(~by_depth) for one in flat)]
        return _stacked([one.cut(inner) for one in chosen])

    def _better_by_depth(
        self, index: int, near: Hole, window: Window, flat: Sequence[_Laid], deep: Sequence[_Laid]
    ) -> bool:
        """Return whether what is laid by depth explains the visible nearby, in `window`, better than what planes do."""
        here, visible = np.ascontiguousarray(self._frames[index][window]), near[window]
        for way in (flat, deep):
            visible = visible & np.any([one.seen for one in way], axis=0)
        weight = visible * weight_of(contrast(here))
        plane, depth = (
            float((np.minimum(difference(here, settle(*_stacked(way))), CUT) * weight).sum()) for way in (flat, deep)
        )
        return depth < plane

    def _fitted_again(self, other: int, index: int, matrix: Homography) -> Homography:
        """Return `matrix`, frame `other` to frame `index`, or what fits the edges around the hole better."""
        image, hole = self._frames[index], self._holes[index]
        moved, seen = move(self._frames[other], self._holes[other], matrix, (hole.shape[1], hole.shape[0]))
        near = ~hole & seen & _around(hole, NEAR_AT_720P)
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


def _around(hole: Hole, at_720p: int) -> Hole:
    """Return which pixels are in `hole` or within `at_720p` of it."""
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance < pixels_of(at_720p, hole.shape[0]))


def _stacked(laid: Sequence[_Laid]) -> Samples:
    """Return the pixels (n, h, w, 3) of frames of one size, and of which of them (n, h, w) to make use."""
    seen, sure = np.array([one.seen for one in laid], np.bool_), np.array([one.sure for one in laid], np.bool_)
    return np.array([one.pixels for one in laid], np.uint8), _surest(seen, sure)


def _moved(mask: Hole, matrix: NDArray[np.float64], size: tuple[int, int]) -> Hole:
    """Return which pixels of a picture of `size` (width, height) the moved mask touches; all beyond its borders too."""
    return np.asarray(cv2.warpPerspective(mask.astype(np.uint8) * 255, matrix, size, borderValue=255) > 0)


def _surest(seen: NDArray[np.bool_], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the `sure` samples (n, h, w) of the pixels that have one, all `seen` ones of the others."""
    return np.where(sure.any(axis=0), sure, seen) if len(seen) else seen
