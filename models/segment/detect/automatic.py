"""SAM 2's automatic masks as a detector of last resort: what a grid of points is on, less what no character can be.

Kirillov et al., "Segment Anything", arXiv 2304.02643, section 5, made the masks; on animated films 15 to 25% of them
are characters, the rest being parts of the set. What is seen in a single frame of a shot only is dropped later.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.segment import Image
from models.segment.boxes import Box
from models.segment.detect import DetectedBox
from models.segment.sam2_network import PointMasks, Sam2Network
from models.segment.stability import stability

POINTS_PER_SIDE = 16  # a cell is 0.4% of the frame: about the smallest layer that is kept
BATCH = 64  # points at once: 50 MB of masks
MIN_QUALITY = 0.7
MIN_STABILITY = 0.8
MIN_SHARE, MAX_SHARE = 0.004, 0.5  # of the frame
MAX_BORDER = 0.3  # of the frame's border: more of it is floor, wall or sky
INSIDE = 0.8  # of a mask that lies in a larger one: a part of it, or the same again

Masks = NDArray[np.bool_]


class AutomaticMasks:
    """A `Detector` without words."""

    def __init__(self, network: Sam2Network, points_per_side: int = POINTS_PER_SIDE) -> None:
        self._network = network
        self._side = points_per_side

    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what may be a character in an `(H, W, 3)` RGB uint8 frame, the surest first."""
        size = (image.shape[0], image.shape[1])
        masks, scores = self.masks(image)
        kept = wholes(masks)
        boxes = [DetectedBox(_box(masks[number], size), float(scores[number]), "") for number in kept]
        return sorted(boxes, key=lambda box: -box.score)

    def masks(self, image: Image) -> tuple[Masks, NDArray[np.float64]]:
        """Return the masks `(n, h, w)` that pass the filters, at the network's resolution, and their scores 0..1."""
        size = (image.shape[0], image.shape[1])
        embedded = self._network.embed(image)
        points = self._network.to_square(grid(self._side, size), size)
        kept: list[Masks] = []
        scores: list[NDArray[np.float64]] = []
        for start in range(0, len(points), BATCH):
            found = self._network.masks_at(embedded, points[start : start + BATCH])
            score, solid = scored(found), found.logits > 0
            good = (score > 0) & np.array([may_be_character(mask) for mask in solid])
            kept.append(solid[good])
            scores.append(score[good])
        return np.concatenate(kept), np.concatenate(scores)


def grid(side: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the centres `(side * side, 2)` x, y of equal cells of a frame of `size` (height, width)."""
    centres = (np.arange(side) + 0.5) / side
    columns, rows = np.meshgrid(centres * size[1], centres * size[0])
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def scored(found: PointMasks) -> NDArray[np.float64]:
    """Return quality times stability of each mask, 0 where one of them is below its limit."""
    stable = stability(found.logits)
    good = (found.quality >= MIN_QUALITY) & (stable >= MIN_STABILITY)
    return np.where(good, np.clip(found.quality, 0, 1) * stable, 0.0)


def may_be_character(mask: Masks) -> bool:
    """Whether a mask `(h, w)` has the size of a character and keeps away from most of the frame's border."""
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return bool(MIN_SHARE <= mask.mean() <= MAX_SHARE and border.mean() <= MAX_BORDER)


def wholes(masks: Masks | Sequence[Masks]) -> list[int]:
    """Return which masks are not mostly inside a larger one, the largest first."""
    areas = [int(mask.sum()) for mask in masks]
    kept: list[int] = []
    for number in sorted(range(len(areas)), key=lambda n: -areas[n]):
        if not any((masks[number] & masks[other]).sum() > INSIDE * areas[number] for other in kept):
            kept.append(number)
    return kept


def _box(mask: Masks, size: tuple[int, int]) -> Box:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    across, down = size[1] / mask.shape[1], size[0] / mask.shape[0]
    return x * across, y * down, (x + width) * across, (y + height) * down
