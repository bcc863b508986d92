"""True background pixels for a hole, from other shots of the same place.

Where nobody moves within a shot, the shot never shows what is behind; another camera at the same place often does.
Each plane of each view gives a candidate, and what is visible around the hole tells how far it can be trusted. At
each pixel candidates of other views vote: what two cameras lay on the same spot in the same colour lies on the plane
assumed (the photo-consistency of plane sweeping: Collins, "A space-sweep approach to true multi-image matching",
1996).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint import Hole, Image
from models.inpaint.alignment import Features, find_features
from models.inpaint.neighbours import NeighbourFill
from models.inpaint.planes import Homography, find_planes, is_plausible, move, refit

Map = NDArray[np.float32]

REFERENCE_HEIGHT = 288  # lengths in pixels below are for this height
RING = 24  # pixels around the unknown in which a candidate is judged as a whole
FIT_RING = 72  # pixels around the unknown to which its homography is fitted
MIN_RING_SEEN = 0.15
MAX_RING_APART = 10.0  # grey levels, median over the ring: another place is refused here
EDGE = 16  # grey levels of local contrast; a bare wall fits anywhere
SAME = 14.0  # grey levels, largest channel
MIN_EDGE_PIXELS = 50
MIN_EDGES_EXPLAINED = 0.2  # of the ring's edges; a true plane explains its own edges, not those of the others
REACH = ((14.0, 1.0), (56.0, 0.15))  # pixels (Gaussian sigma) and weight: how the visible speaks for the hidden
CUT = 60.0  # grey levels, beyond which worse is no worse
COARSE = 4  # costs vary slowly
HALF = 2  # votes are counted on a smaller picture
AGREE = 12.0  # grey levels at which an agreeing vote is down to 1/e
TRUST = 10.0  # grey levels of cost at which trust is down to 1/e
ENOUGH_VOTES = 2.0
VOTE_WORTH = 12.0  # grey levels of cost that one full vote outweighs
MAX_COST = 26.0
SPECK = 7  # coarse pixels; a guess in the midst of truth is worse than a weak truth
MIN_CONFIDENCE = 0.3  # own trust and votes; two views at a cost of 19, or one alone at 12

THUMBNAIL = (64, 36)
LAB_BINS = (8, 12, 12)
AB_RANGE = (48, 208)  # of OpenCV's 0..255; films hardly ever leave it


@dataclass(frozen=True)
class View:
    """A frame (H, W, 3) RGB uint8 of another shot and its `hole` (H, W) bool; its features are found once."""

    image: Image
    hole: Hole

    @cached_property
    def features(self) -> Features:
        """SIFT features outside the hole."""
        return find_features(self.image, self.hole)


@dataclass(frozen=True)
class Candidate:
    """One view laid over the query along one plane."""

    view: int
    pixels: Image  # (H, W, 3)
    seen: Hole  # (H, W)
    cost: Map  # (H, W), expected distance from the truth in grey levels


class _Query:
    """The picture whose `unknown` pixels are looked for, and what every candidate is compared with."""

    def __init__(self, image: Image, hole: Hole, unknown: Hole) -> None:
        self.image, self.unknown = image, unknown
        self.size = (image.shape[1], image.shape[0])
        self.px = image.shape[0] / REFERENCE_HEIGHT
        distance = cv2.distanceTransform((~unknown).astype(np.uint8), cv2.DIST_L2, 5)
        self.visible = ~hole
        self.ring = self.visible & (distance < RING * self.px)
        self.fit_ring = self.visible & (distance < FIT_RING * self.px)
        ys, xs = np.nonzero(unknown)
        self.at = (float(xs.mean()), float(ys.mean()))
        self._soft, self._contrast = _soften(image), _contrast(image)

    def candidates(self, index: int, view: View, features: Features) -> list[Candidate]:
        """Return what `view` shows of the unknown, along each plane it shares with the picture."""
        found = []
        for matrix in find_planes(view.features, features, self.at):
            first = self._judge(index, view, matrix)
            if first is None:
                continue
            closer = [fit @ matrix for fit in refit(first.pixels, self.image, self.fit_ring & first.seen)]
            judged = [self._judge(index, view, fit) for fit in closer if is_plausible(fit, self.at)]
            found += [first, *(candidate for candidate in judged if candidate is not None)]
        return found

    def _judge(self, index: int, view: View, matrix: Homography) -> Candidate | None:
        pixels, seen = move(view.image, view.hole, matrix, self.size)
        ring = seen & self.ring
        if ring.sum() < max(1, MIN_RING_SEEN * self.ring.sum()) or not (seen & self.unknown).any():
            return None
        apart = cv2.absdiff(self._soft, _soften(pixels)).max(axis=-1)
        contrast = np.maximum(self._contrast, _contrast(pixels))
        edges = ring & (contrast > EDGE)
        judged = edges if edges.sum() >= MIN_EDGE_PIXELS else ring
        if np.median(apart[ring]) > MAX_RING_APART or (apart[judged] < SAME).mean() < MIN_EDGES_EXPLAINED:
            return None
        weight = (seen & self.visible) * (0.1 + np.minimum(contrast / 64.0, 1.0))
        return Candidate(index, pixels, seen, self._spread(apart, weight.astype(np.float32)))

    def _spread(self, apart: NDArray[np.uint8], weight: Map) -> Map:
        """Return the weighted mean of `apart` around each pixel, so that the visible speaks for the hidden."""
        size = (-(-self.size[0] // COARSE), -(-self.size[1] // COARSE))
        errors = cv2.resize(np.minimum(apart, CUT).astype(np.float32) * weight, size, interpolation=cv2.INTER_AREA)
        weights = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        total, share = np.zeros(errors.shape, np.float32), np.full(errors.shape, 1e-6, np.float32)
        for reach, worth in REACH:
            sigma = reach * self.px / COARSE
            total += np.float32(worth) * np.asarray(cv2.GaussianBlur(errors, (0, 0), sigma), np.float32)
            share += np.float32(worth) * np.asarray(cv2.GaussianBlur(weights, (0, 0), sigma), np.float32)
        return np.asarray(cv2.resize(total / share, self.size), np.float32)


def fill_from_elsewhere(image: Image, hole: Hole, unknown: Hole, others: Sequence[View]) -> NeighbourFill:
    """Return `image` (H, W, 3) with the pixels of `unknown` that `others` show; no other pixel changes.

    `hole` (H, W) bool is everything that characters hide, a few pixels wider than they are (`provenance.dilate`):
    the pixels beside it are what views are judged by. `unknown` is the part of it that the shot never shows. Views
    of another place are refused, and pixels on which the views disagree stay unknown.

    Raises:
        ValueError: `unknown` reaches beyond `hole`, or their sizes are not the picture's.
    """
    if not hole.shape == unknown.shape == image.shape[:2]:
        message = f"hole {hole.shape} and unknown {unknown.shape} need the size of their picture, {image.shape[:2]}"
        raise ValueError(message)
    if (unknown & ~hole).any():
        message = f"{(unknown & ~hole).sum()} pixels are unknown outside the hole; what the picture shows is known"
        raise ValueError(message)
    nothing = NeighbourFill(image, np.zeros_like(unknown))
    if not unknown.any() or hole.all():
        return nothing
    query, features = _Query(image, hole, unknown), find_features(image, hole)
    found = [candidate for index, view in enumerate(others) for candidate in query.candidates(index, view, features)]
    return _choose(image, unknown, found) if found else nothing


def likely_places(query: Image, candidates: Sequence[Image], most: int) -> list[int]:
    """Return the indices of up to `most` of the `candidates` that most likely show the place of `query`, best first.

    Thumbnails are compared by their colour histograms in Lab with the Bhattacharyya coefficient, which a change of
    camera leaves largely alone.
    """
    return most_alike(palette(query), [palette(candidate) for candidate in candidates], most)


def most_alike(wanted: Map, palettes: Sequence[Map], most: int) -> list[int]:
    """Return the indices of up to `most` of the palettes that are most like `wanted`, best first."""
    likeness = np.array([wanted @ each for each in palettes])
    return [int(index) for index in np.argsort(-likeness, kind="stable")[: max(0, most)]]


def palette(image: Image) -> Map:
    """Return the square roots (n,) of a smoothed Lab histogram of `image`, of length 1."""
    lab = cv2.cvtColor(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    histogram = cv2.calcHist([lab], [0, 1, 2], None, list(LAB_BINS), [0, 256, *AB_RANGE, *AB_RANGE])
    for axis in range(3):
        padded = np.pad(histogram, [(int(axis == other), int(axis == other)) for other in range(3)])
        low, middle, high = (np.take(padded, np.arange(LAB_BINS[axis]) + step, axis=axis) for step in range(3))
        histogram = (low + 2 * middle + high) / 4
    return np.asarray(np.sqrt(histogram / max(float(histogram.sum()), 1e-6)).ravel(), np.float32)


def _choose(image: Image, unknown: Hole, found: Sequence[Candidate]) -> NeighbourFill:
    """Return `image` with the candidate of the best cost and votes at each unknown pixel that has a credible one."""
    ys, xs = np.nonzero(unknown)
    window = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
    height, width = unknown[window].shape
    size = (max(1, width // HALF), max(1, height // HALF))
    costs = np.array([cv2.resize(one.cost[window], size) for one in found])
    seen = np.array([cv2.resize(_shrink(one.seen[window], HALF).astype(np.uint8), size) > 0 for one in found])
    colours = np.array([cv2.resize(_soften(one.pixels[window]), size, interpolation=cv2.INTER_AREA) for one in found])
    trust = np.exp(-costs / TRUST) * seen
    votes = _count_votes(colours, trust, [one.view for one in found])
    score = np.where(seen, VOTE_WORTH * np.minimum(votes, ENOUGH_VOTES) - costs, -np.inf)
    pick = score.argmax(axis=0)[None]
    cost, confidence = (np.take_along_axis(values, pick, axis=0)[0] for values in (costs, trust + votes))
    credible = ((cost < MAX_COST) & (confidence > MIN_CONFIDENCE)).astype(np.uint8)
    credible = cv2.morphologyEx(credible, cv2.MORPH_CLOSE, np.ones((SPECK, SPECK), np.uint8))
    credible = cv2.resize(credible, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    chosen = cv2.resize(pick[0].astype(np.uint16), (width, height), interpolation=cv2.INTER_NEAREST)[None]
    shown = np.take_along_axis(np.array([one.seen[window] for one in found]), chosen, axis=0)[0]
    pixels = np.take_along_axis(np.array([one.pixels[window] for one in found]), chosen[..., None], axis=0)[0]
    known = np.zeros_like(unknown)
    known[window] = unknown[window] & credible & shown
    filled = image.copy()
    filled[known] = pixels[known[window]]
    return NeighbourFill(filled, known)


def _count_votes(colours: NDArray[np.uint8], trust: Map, views: Sequence[int]) -> Map:
    """Return how far other views stand behind each candidate's (n, h, w, 3) colour; a view has one vote."""
    votes = np.zeros_like(trust)
    for index, view in enumerate(views):
        apart = np.abs(colours.astype(np.int16) - colours[index]).max(axis=-1)
        agreement = np.exp(-((apart.astype(np.float32) / AGREE) ** 2)) * trust
        for other in sorted(set(views) - {view}):
            votes[index] += agreement[[position for position, one in enumerate(views) if one == other]].max(axis=0)
        votes[index] = cv2.blur(votes[index], (3, 3))
    return votes


def _shrink(mask: Hole, pixels: int) -> Hole:
    """Return `mask` without its outermost `pixels`; the picture's border does not count."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)) > 0)


def _soften(image: Image) -> Image:
    """Return `image` blurred by a pixel, so that resampling makes no difference."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)


def _contrast(image: Image) -> NDArray[np.uint8]:
    """Return the range (H, W) of the most varied channel within 2 pixels."""
    return np.asarray(cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)).max(axis=-1))
