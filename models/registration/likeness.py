"""How alike two pictures are, pixel by pixel, when one is laid over the other."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Image, Map

CUT = 60.0  # grey levels, beyond which worse is no worse
EDGE = 16  # grey levels of local contrast; a bare wall fits anywhere
FULL = 64.0  # grey levels of local contrast, beyond which more says no more


def difference(one: Image, other: Image) -> NDArray[np.uint8]:
    """Return how far apart (H, W) two pictures (H, W, 3) are, in grey levels of the channel that differs most."""
    return largest_channel(cv2.absdiff(soften(one), soften(other)))


def soften(image: Image) -> Image:
    """Return `image` blurred by a pixel, so that resampling makes no difference."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8)


def contrast(image: Image) -> NDArray[np.uint8]:
    """Return the range (H, W) of the most varied channel within 2 pixels."""
    return largest_channel(cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)))


def weight_of(varied: NDArray[np.uint8]) -> Map:
    """Return what a pixel's likeness weighs, 0.1..1.1, by its local contrast: a bare wall is like any other."""
    return np.asarray(0.1 + np.minimum(varied / FULL, 1.0), np.float32)


def largest_channel(values: NDArray[Any]) -> NDArray[Any]:
    """Return the largest (...) of three channels (..., 3), several times as fast as numpy reduces so short an axis."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))
