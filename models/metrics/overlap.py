"""How far masks cover one another."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.metrics.figure import share

Mask = NDArray[np.bool_]


class FrameOverlap(NamedTuple):
    """How the layers of one frame cover its true characters."""

    shown: dict[str, str]
    """For each layer, the character whose true mask it overlaps most; empty where it overlaps none."""
    together: float | None
    """Of all layers' union and all characters' union; None where neither has a pixel."""
    alone: dict[str, float]
    """For each character that is seen, of its mask and the union of the layers that show it; 0 without a layer."""
    has_layer: bool


def frame_overlap(layers: Mapping[str, Mask], truth: Mapping[str, Mask]) -> FrameOverlap:
    """Match a frame's `(H, W)` layers to the true masks of the characters that are seen, and score them."""
    shown = {layer: most_overlapped(mask, truth) for layer, mask in layers.items()}
    alone = {}
    for name, true_mask in truth.items():
        given = union(mask for layer, mask in layers.items() if shown[layer] == name)
        alone[name] = 0.0 if given is None else intersection_over_union(given, true_mask) or 0.0
    given, expected = union(layers.values()), union(truth.values())
    has_layer = given is not None and bool(given.any())
    if given is None or expected is None:
        together = 0.0 if has_layer or expected is not None else None
    else:
        together = intersection_over_union(given, expected)
    return FrameOverlap(shown, together, alone, has_layer)


def intersection_over_union(first: Mask, second: Mask) -> float | None:
    """Return |A and B| / |A or B| (Jaccard 1901) of two `(H, W)` masks; None where both are empty."""
    return share(int(np.count_nonzero(first & second)), int(np.count_nonzero(first | second)))


def union(masks: Iterable[Mask]) -> Mask | None:
    """Return the pixels that are in any mask, or None without a mask."""
    listed = list(masks)
    return np.logical_or.reduce(listed) if listed else None


def most_overlapped(mask: Mask, others: Mapping[str, Mask]) -> str:
    """Return the name of the mask that shares most pixels with `mask`; empty where none shares any.

    Of equals, the first in alphabetical order.
    """
    shared = {name: int(np.count_nonzero(mask & others[name])) for name in sorted(others)}
    best = max(shared, key=lambda name: shared[name], default="")
    return best if best and shared[best] else ""
