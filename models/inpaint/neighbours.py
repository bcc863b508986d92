"""True background pixels for a hole, from frames of the same shot that show what it hides.

Each neighbour is laid over the frame by a homography, fitted again to what lies around the hole: before a camera that
moves a house shifts unlike the ground, and most matches need not lie at the depth of what is hidden. Of the samples
that a pixel gets this way the median is taken where they agree: a cast shadow that wanders through is outvoted. Where
they do not, as at the edge of what stands before the rest, the sample nearest in time is taken, which parallax has
moved least. The frame's own shadows, where its neighbours show their ground without them, are a part of the hole.
Before a moving camera neighbours are laid at the depth of each pixel (`parallax`) as well, told by flows of two kinds.
What these ways show is averaged by how well each explains what is visible around the hole: each is a little off.
What few frames show, and what frames or ways disagree on, is unsure: the likeliest, but no true pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint.parallax import find_parallax, follow, grid_of, shown_at, sweep
from models.inpaint.planes import FLOWS, Flow, Homography, is_plausible, move, refit
from models.inpaint.shadows import shadows_of
from models.inpaint.ways import Pixels, Shown, is_sure, mean_of, worth_of
from models.registration import Hole, Image
from models.registration.alignment import Features, find_features, find_homography, spread
from models.registration.likeness import CUT, EDGE, contrast, difference
from models.registration.masks import Window, extent, pixels_of, wider
from models.registration.samples import settle

MOST_NEIGHBOURS = 16
NEAR_AT_720P = 275  # pixels around a hole to which a neighbour is fitted again
JUDGED_AT_720P = 70  # pixels around a hole in which planes and depths are compared
MOST_SWEPT = 8  # neighbours, the nearest in time
FEWEST = 2  # frames that have to show a pixel before a camera that moves

Samples = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class NeighbourFill:
    """A frame with what its neighbours show of its hole."""

    image: Image  # (H, W, 3), changed inside the hole only
    hole: Hole  # (H, W), with the shadows that hang together with it
    known: Hole  # (H, W), part of the hole
    unsure: Hole  # (H, W), part of the hole: shown, but by frames that are too few or disagree

    @property
    def unknown(self) -> Hole:
        """The part of the hole, (H, W), that nobody shows."""
        return self.hole & ~self.known & ~self.unsure


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
        known, unsure = np.zeros_like(hole), np.zeros_like(hole)
        laid = self._laid(index) if hole.any() else []
        if not laid:
            return NeighbourFill(image, hole, known, unsure)
        shadow, *others = shadows_of([(image, ~hole), *((one.pixels, one.seen) for one in laid)])
        hole, laid = hole | shadow, [one.doubting(other) for one, other in zip(laid, others, strict=True)]
        window = extent(hole)
        pixels, seen, sure = self._shown(index, hole, laid, window)
        known[window], unsure[window] = seen & sure & hole[window], seen & ~sure & hole[window]
        filled = image.copy()
        filled[known | unsure] = pixels[(known | unsure)[window]]
        return NeighbourFill(filled, hole, known, unsure)

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

    def _shown(self, index: int, hole: Hole, laid: Sequence[_Laid], window: Window) -> tuple[Image, Hole, Hole]:
        """Return what the neighbours `laid` show in `window`, (h, w, 3), where, (h, w), and where that is sure.

        They are laid along planes, and at the depth of each pixel as each flow tells it. What these ways show is
        averaged, the more of each the better it explains what surrounds `hole`.
        """
        moving = [one for one in laid if not np.array_equal(one.matrix, np.eye(3))]
        fewest, swept = FEWEST if moving else 1, moving[:MOST_SWEPT]
        if len(swept) < 2:  # noqa: PLR2004
            one = _settled([each.cut(window) for each in laid])
            return one.pixels, one.seen, is_sure([one], [1.0], one.pixels, fewest, hole.shape[0])
        near = ~hole & _around(hole, NEAR_AT_720P)
        wide = wider(window, pixels_of(JUDGED_AT_720P, hole.shape[0]), hole.shape)
        ways = [[one.cut(wide) for one in laid], *(self._deep(index, near, wide, swept, flow) for flow in FLOWS)]
        shown = [_settled(way) for way in ways if way]
        worth = worth_of(np.ascontiguousarray(self._frames[index][wide]), near[wide], shown)
        mean, seen = mean_of(shown, worth)
        sure = is_sure(shown, worth, mean, fewest, hole.shape[0])
        inner = tuple(
            slice(part.start - out.start, part.stop - out.start) for part, out in zip(window, wide, strict=True)
        )
        return mean[inner], seen[inner], sure[inner]

    def _deep(self, index: int, near: Hole, window: Window, swept: Sequence[_Laid], flow: Flow) -> list[_Laid]:
        """Return what neighbours show in `window`, each pixel laid at its depth, told by `flow` around the hole."""
        pixels, shown = [one.pixels for one in swept], [one.seen for one in swept]
        sightings = follow(self._frames[index], pixels, [near & seen for seen in shown], flow)
        if (parallax := find_parallax(sightings, float(max(self._holes[index].shape)))) is None:
            return []
        depth, grid, deep = sweep(parallax, pixels, shown, window), grid_of(window), []
        for n in np.flatnonzero(parallax.trusted).tolist():
            other, points = swept[n].frame, parallax.displaced(n, parallax.undisplaced(n, grid), depth)
            back = np.asarray(np.linalg.inv(swept[n].matrix), np.float64)
            colours, seen = shown_at(self._frames[other], self._holes[other], back, points)
            sure = seen & shown_at(pixels[n], ~swept[n].sure, np.eye(3), points)[1]
            deep.append(_Laid(colours, seen, sure, other, swept[n].matrix))
        return deep

    def _fitted_again(self, other: int, index: int, matrix: Homography) -> Homography:
        """Return `matrix`, frame `other` to frame `index`, or what fits the edges around the hole better."""
        image, hole = self._frames[index], self._holes[index]
        moved, seen = self._moved_by(matrix, other)
        near = ~hole & seen & _around(hole, NEAR_AT_720P)
        edges = near & (contrast(image) > EDGE)
        if not edges.any():
            return matrix
        ys, xs = np.nonzero(hole)
        at = (float(xs.mean()), float(ys.mean()))
        closer = [fit @ matrix for flow in FLOWS for fit in _first(refit(moved, image, near, flow), at)]
        laid = [moved, *(self._moved_by(one, other)[0] for one in closer)]
        unlike = [float(np.minimum(difference(one, image), CUT)[edges].mean()) for one in laid]
        return [matrix, *closer][int(np.argmin(unlike))]

    def _moved_by(self, matrix: Homography, other: int) -> Pixels:
        """Return frame `other` laid over a frame of its shot by `matrix`, and where it shows no character."""
        hole = self._holes[other]
        return move(self._frames[other], hole, matrix, (hole.shape[1], hole.shape[0]))

    def _features_of(self, index: int) -> Features:
        if index not in self._features:
            self._features[index] = find_features(self._frames[index], self._holes[index])
        return self._features[index]


def _first(fits: Sequence[Homography], at: tuple[float, float]) -> list[Homography]:
    """Return the best supported of several homographies that is plausible at the point `at` (x, y), if any."""
    return [fit for fit in fits if is_plausible(fit, at)][:1]


def _around(hole: Hole, at_720p: int) -> Hole:
    """Return which pixels are in `hole` or within `at_720p` of it."""
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance < pixels_of(at_720p, hole.shape[0]))


def _settled(laid: Sequence[_Laid]) -> Shown:
    """Return what frames of one size show together."""
    samples, seen = _stacked(laid)
    pixels, apart = settle(samples, seen)
    return Shown(pixels, np.asarray(seen.any(axis=0)), apart, seen.sum(axis=0))


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
