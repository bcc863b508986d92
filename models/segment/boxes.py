"""Boxes x0, y0, x1, y1 in pixels: how much two of them overlap, and the surest of those that mean the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def box_iou(one: Sequence[Box], other: Sequence[Box]) -> NDArray[np.float64]:
    """Return the intersection over union `(n, m)`, 0..1, of n boxes with m; a box without area overlaps nothing."""
    a, b = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (one, other))
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])  # (n, m, 2)
    shared = np.clip(sides, 0, None).prod(axis=2)
    joined = _areas(a)[:, None] + _areas(b)[None] - shared
    return np.asarray(shared / np.maximum(joined, np.finfo(np.float64).tiny))


def suppress(boxes: Sequence[Box], scores: Sequence[float], overlap: float) -> list[int]:
    """Return which boxes stay, the surest first, when each ends those with which its IoU is above `overlap`.

    Greedy non-maximum suppression; of two boxes with one score the earlier counts as surer.
    """
    ious = box_iou(boxes, boxes)
    kept: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda n: -scores[n]):
        if not any(ious[number, other] > overlap for other in kept):
            kept.append(number)
    return kept


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """Return `box` cut to a frame of `size` (height, width)."""
    height, width = size
    x0, y0, x1, y1 = (float(value) for value in box)
    return min(max(x0, 0), width), min(max(y0, 0), height), min(max(x1, 0), width), min(max(y1, 0), height)


def area(box: Box) -> float:
    """Return the area of a box in pixels."""
    return float(_areas(np.asarray([box], np.float64))[0])


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))
