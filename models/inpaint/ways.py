"""What several ways of laying neighbours over a frame show together, and where that is sure.

A way is worth the more the better it explains what is visible around the hole. What few frames show, and what frames
or ways disagree on, is unsure: on two films with exact truth that is a seventh and a quarter of what frames show, and
its squared error is thirty times that of the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Hole, Image, Map
from models.registration.likeness import CUT, contrast, difference, weight_of
from models.registration.masks import pixels_of

DECISION = 8  # power by which a way to lay neighbours loses its worth, the less it is like what surrounds the hole
LEAST_WORTH = 1e-6
MOST_SPREAD = 5.0  # grey levels, expected distance from the truth, at which pixels are unsure
SPREAD_AT_720P = 17  # pixels over which it is averaged: what is laid wrongly is so as a whole

Pixels = tuple[Image, Hole]
"""Pixels (h, w, 3), and where (h, w) there are any."""


@dataclass(frozen=True)
class Shown:
    """What frames show together."""

    pixels: Image  # (h, w, 3)
    seen: Hole  # (h, w), where any frame shows something
    spread: Map  # (h, w), how far they are apart, in grey levels
    count: NDArray[np.int64]  # (h, w), frames that were made use of


def worth_of(here: Image, visible: Hole, ways: Sequence[Shown]) -> list[float]:
    """Return what each of several ways counts, the best one 1, by how like `here` it is where `visible` in all."""
    for way in ways:
        visible = visible & way.seen
    weight = visible * weight_of(contrast(here))
    unlike = [1 + float((np.minimum(difference(here, way.pixels), CUT) * weight).sum()) for way in ways]
    return [max(LEAST_WORTH, (min(unlike) / one) ** DECISION) for one in unlike]


def mean_of(ways: Sequence[Shown], worth: Sequence[float]) -> Pixels:
    """Return the mean of what several ways show, by their worth, and where any of them shows something."""
    total, share = np.zeros(ways[0].pixels.shape), np.zeros(ways[0].seen.shape)
    for way, weight in zip(ways, worth, strict=True):
        total += (weight * way.seen)[..., None] * way.pixels
        share += weight * way.seen
    mean = total / np.maximum(share, LEAST_WORTH)[..., None]
    return np.asarray(mean.round(), np.uint8), np.asarray(share > 0)


def is_sure(ways: Sequence[Shown], worth: Sequence[float], mean: Image, fewest: int, height: int) -> Hole:
    """Return where frames enough show the `mean` (h, w, 3) of several ways, and neither they nor the ways disagree."""
    apart, within, count, share = (np.zeros(ways[0].seen.shape) for _ in range(4))
    for way, weight in zip(ways, worth, strict=True):
        here = weight * way.seen
        apart += here * ((way.pixels.astype(np.float64) - mean) ** 2).mean(axis=-1)
        within += here * way.spread**2
        count += here * way.count
        share += here
    share = np.maximum(share, LEAST_WORTH)
    side = pixels_of(SPREAD_AT_720P, height) | 1
    expected = cv2.blur(apart / share, (side, side)) + within / share
    return np.asarray((expected < MOST_SPREAD**2) & (count / share >= fewest))
