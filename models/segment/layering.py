"""From what a network sees of each object in a frame to masks that share no pixel, in order from near to far.

Where two masks overlap, each pixel goes to the surer one (SAM 2's own rule for objects that exclude each other, here
on probabilities, so that edges stay soft). Who keeps most of the overlap covers the other: that one is in front.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.segment import TrackMask
from models.segment.boxes import Box
from models.segment.instances import FAINTEST
from models.segment.stability import stability

MIN_KEPT = 0.2  # of a mask: who keeps less of his own than this is another's double
MIN_MEETING = 0.005  # of the smaller mask: less overlap says nothing about who is in front
SCRAP_SHARE = 0.04  # of the largest part: less is a speck, not an arm behind a railing
EDGE_SHARE = 0.014  # of the height: how far a soft edge may reach

Solid = NDArray[np.bool_]


@dataclass(frozen=True)
class Sighting:
    """What a network sees of one object in one frame."""

    logits: NDArray[np.float32]  # (h, w) at the network's own resolution, above 0 inside
    presence: float  # 0..1, how sure it is that the object is in the frame at all

    @property
    def seen(self) -> bool:
        """Whether anything of the object is in the frame."""
        return bool((self.logits > 0).any())

    @property
    def score(self) -> float:
        """Presence times stability of the mask, 0..1."""
        return float(self.presence * stability(self.logits))

    def box(self, size: tuple[int, int]) -> Box:
        """Return the tight box of the mask in pixels of a frame of `size` (height, width); all 0 where unseen."""
        rows, columns = (np.flatnonzero((self.logits > 0).any(axis=axis)) for axis in (1, 0))
        if rows.size == 0:
            return 0.0, 0.0, 0.0, 0.0
        y, x = size[0] / self.logits.shape[0], size[1] / self.logits.shape[1]
        return float(columns[0] * x), float(rows[0] * y), float((columns[-1] + 1) * x), float((rows[-1] + 1) * y)


def mask_iou(one: Sighting, other: Sighting) -> float:
    """Return the intersection over union, 0..1, of two masks of one frame."""
    a, b = one.logits > 0, other.logits > 0
    return float((a & b).sum() / max(1, (a | b).sum()))


def layer_frame(index: int, sightings: Mapping[int, Sighting], size: tuple[int, int]) -> list[TrackMask]:
    """Return the masks of frame `index` by track, at `size` (height, width).

    No pixel is 128 or more in two of them. A double, which others leave less than `MIN_KEPT` of itself, is dropped.
    """
    tracks = [track for track in sorted(sightings) if sightings[track].seen]
    if not tracks:
        return []
    chances = [_at_size(sightings[track].logits, size) for track in tracks]
    tracks, probability, owner = _without_doubles(tracks, np.stack(chances))
    depths = depth_order(probability >= 0.5, owner)  # noqa: PLR2004
    alphas = (main_parts(alpha) for alpha in share_pixels(probability, owner))
    return [
        TrackMask(index, track, alpha, sightings[track].score, depth)
        for track, alpha, depth in zip(tracks, alphas, depths, strict=True)
        if (alpha >= 128).any()  # noqa: PLR2004
    ]


def share_pixels(probability: NDArray[np.float32], owner: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return alphas `(n, H, W)` 0..255 of n probabilities: the owner's as it is, the others' what he leaves of 1."""
    best = probability.max(axis=0)
    mine = owner[None] == np.arange(len(probability))[:, None, None]
    alpha = np.round(255 * np.where(mine, probability, np.minimum(probability, 1 - best)))
    alpha[~mine] = np.minimum(alpha[~mine], 127)
    alpha[alpha < FAINTEST] = 0
    return np.asarray(alpha, np.uint8)


def depth_order(solid: Solid, owner: NDArray[np.int64]) -> list[int]:
    """Return for each of n masks `(n, H, W)` how many of the others cover it; 0 is in front of all it meets.

    owner: (H, W), which of the masks keeps each pixel.
    """
    depths = [0] * len(solid)
    for one in range(len(solid)):
        for other in range(one + 1, len(solid)):
            meeting = solid[one] & solid[other]
            if meeting.sum() <= MIN_MEETING * min(solid[one].sum(), solid[other].sum()):
                continue
            kept = [int((owner[meeting] == number).sum()) for number in (one, other)]
            if kept[0] != kept[1]:
                depths[other if kept[0] > kept[1] else one] += 1
    return depths


def main_parts(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `alpha` without parts far smaller than the largest; what an occluder cuts in pieces stays."""
    solid = (alpha >= 128).astype(np.uint8)  # noqa: PLR2004
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count <= 2:  # noqa: PLR2004
        return alpha
    areas = stats[:, cv2.CC_STAT_AREA].astype(float)
    areas[0] = 0
    kept = (areas >= SCRAP_SHARE * areas.max())[labels] & (solid > 0)
    reach = 2 * max(1, round(EDGE_SHARE * alpha.shape[0])) + 1
    near = cv2.dilate(kept.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    rest = np.where(near & (solid == 0), alpha, 0)
    return np.where(kept, alpha, rest).astype(np.uint8)


def _at_size(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    grown = cv2.resize(logits, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-np.clip(grown, -30, 30))), np.float32)


def _without_doubles(
    tracks: list[int], probability: NDArray[np.float32]
) -> tuple[list[int], NDArray[np.float32], NDArray[np.int64]]:
    """Drop the mask that keeps the least of itself until all keep enough; return who owns each pixel then."""
    while True:
        owner = np.asarray(np.argmax(probability, axis=0))
        solid = probability >= 0.5  # noqa: PLR2004
        kept = [(owner[mask] == n).sum() / max(1, mask.sum()) for n, mask in enumerate(solid)]
        worst = int(np.argmin(kept))
        if kept[worst] >= MIN_KEPT or len(tracks) == 1:
            return tracks, probability, owner
        tracks = tracks[:worst] + tracks[worst + 1 :]
        probability = np.delete(probability, worst, axis=0)
