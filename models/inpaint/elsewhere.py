"""True background pixels for a hole, from other shots of the same place.

Where nobody moves within a shot, the shot never shows what is behind; another camera at the same place often does.
Each plane of each view gives a candidate, what is visible around the hole tells how far it can be trusted, and the
candidates of all views vote (`voting`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint.neighbours import NeighbourFill
from models.inpaint.planes import FLOWS, find_planes, is_plausible, move, refit
from models.inpaint.shadows import shadow_in
from models.inpaint.voting import Candidate, vote
from models.registration import Hole, Image, Map
from models.registration.alignment import Features, find_features
from models.registration.likeness import CUT, EDGE, contrast, difference, weight_of
from models.registration.masks import extent, wider

REFERENCE_HEIGHT = 288  # lengths in pixels below are for this height
SHADOW_REACH = 100  # pixels around the unknown in which its characters' shadows are looked for
RING = 24  # pixels around the unknown in which a candidate is judged as a whole
FIT_RING = 72  # pixels around the unknown to which its homography is fitted
MIN_RING_SEEN = 0.15
MAX_RING_APART = 10.0  # grey levels, median over the ring: another place is refused here
SAME = 14.0  # grey levels, largest channel
MIN_EDGE_PIXELS = 50
MIN_EDGES_EXPLAINED = 0.2  # of the ring's edges; a true plane explains its own edges, not those of the others
REACH = ((14.0, 1.0), (56.0, 0.15))  # pixels (Gaussian sigma) and weight: how the visible speaks for the hidden
COARSE = 4  # costs vary slowly


@dataclass(frozen=True)
class View:
    """A frame (H, W, 3) RGB uint8 of another shot and its `hole` (H, W) bool; its features are found once."""

    image: Image
    hole: Hole

    @cached_property
    def features(self) -> Features:
        """SIFT features outside the hole."""
        return find_features(self.image, self.hole)


class _Query:
    """The picture whose `unknown` pixels are looked for, and what every candidate is compared with."""

    def __init__(self, image: Image, hole: Hole, unknown: Hole) -> None:
        self.image, self.unknown = image, unknown
        self.size = (image.shape[1], image.shape[0])
        self.px = image.shape[0] / REFERENCE_HEIGHT
        distance = cv2.distanceTransform((~unknown).astype(np.uint8), cv2.DIST_L2, 5)
        self.visible = ~hole
        distance -= distance[self.visible].min() - 1  # the visible begins where neighbours' pixels end
        self.ring = self.visible & (distance < RING * self.px)
        self.fit_ring = self.visible & (distance < FIT_RING * self.px)
        ys, xs = np.nonzero(unknown)
        self.at = (float(xs.mean()), float(ys.mean()))
        self.window = wider(extent(unknown), round(SHADOW_REACH * self.px), unknown.shape)
        self._contrast = contrast(image)

    def candidates(self, index: int, view: View, features: Features) -> list[Candidate]:
        """Return what `view` shows of the unknown, along each plane it shares with the picture."""
        found = []
        for matrix in find_planes(view.features, features, self.at):
            pixels, seen = move(view.image, view.hole, matrix, self.size)
            if (first := self._judge(index, pixels, seen)) is None:
                continue
            ring = self.fit_ring & seen
            closer = [fit @ matrix for flow in FLOWS for fit in refit(pixels, self.image, ring, flow)]
            laid = [move(view.image, view.hole, fit, self.size) for fit in closer if is_plausible(fit, self.at)]
            judged = [self._judge(index, *each) for each in laid]
            found += [first, *(candidate for candidate in judged if candidate is not None)]
        return found

    def _judge(self, index: int, pixels: Image, seen: Hole) -> Candidate | None:
        """Return a candidate of view `index`, or None where it does not fit the ring or shows nothing of use."""
        ring = seen & self.ring
        if ring.sum() < max(1, MIN_RING_SEEN * self.ring.sum()) or not (seen & self.unknown).any():
            return None
        apart = difference(self.image, pixels)
        varied = np.maximum(self._contrast, contrast(pixels))
        edges = ring & (varied > EDGE)
        judged = edges if edges.sum() >= MIN_EDGE_PIXELS else ring
        if np.median(apart[ring]) > MAX_RING_APART or (apart[judged] < SAME).mean() < MIN_EDGES_EXPLAINED:
            return None
        cost = self._spread(apart, (seen & self.visible) * weight_of(varied))
        inside = self.window
        return Candidate(index, pixels[inside].copy(), seen[inside].copy(), cost[inside].copy())  # else all is kept

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


def fill_from_elsewhere(image: Image, seen: NeighbourFill, others: Sequence[View]) -> NeighbourFill:
    """Return what `seen` shows of `image` (H, W, 3), and what `others` show of the rest of its hole; nothing else.

    The hole is everything that characters hide, a few pixels wider than they are (`masks.dilate`): the pixels of
    `image` beside it are what views are judged by. Views of another place are refused, pixels that no view makes
    credible stay unknown, and those on which views disagree are unsure. Shadows beside the unknown, where the views
    show their ground without them, become a part of the hole. What is known and unsure in the end is what `others`
    show alone.

    Raises:
        ValueError: the hole has not the picture's size.
    """
    hole, unknown = seen.hole, seen.unknown
    if hole.shape != image.shape[:2]:
        message = f"hole {hole.shape} needs the size of its picture, {image.shape[:2]}"
        raise ValueError(message)
    nothing = NeighbourFill(seen.image, hole, np.zeros_like(unknown), np.zeros_like(unknown))
    if not unknown.any() or hole.all():
        return nothing
    query, features = _Query(image, hole, unknown), find_features(image, hole)
    found = [candidate for index, view in enumerate(others) for candidate in query.candidates(index, view, features)]
    if not found:
        return nothing
    pixels, credible, sure = vote(found)
    ground, shown, doubtless = seen.image.copy(), np.zeros_like(unknown), np.zeros_like(unknown)
    ground[query.window], shown[query.window], doubtless[query.window] = pixels, credible, sure
    shadow = shadow_in(seen.image, unknown, ground, shown)
    shown &= unknown | shadow
    image = np.where(shown[..., None], ground, seen.image)
    return NeighbourFill(image, hole | shadow, shown & doubtless, shown & ~doubtless)
