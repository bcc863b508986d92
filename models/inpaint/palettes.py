"""Which pictures most likely show one place: by their colours, which a change of camera leaves largely alone."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Image

Palette = NDArray[np.float32]

THUMBNAIL = (64, 36)
LAB_BINS = (8, 12, 12)
AB_RANGE = (48, 208)  # of OpenCV's 0..255; films hardly ever leave it


def most_alike(wanted: Palette, palettes: Sequence[Palette], most: int) -> list[int]:
    """Return the indices of up to `most` of the palettes that are most like `wanted`, best first.

    Two palettes are compared by their product, the Bhattacharyya coefficient of their histograms.
    """
    likeness = np.array([wanted @ each for each in palettes])
    return [int(index) for index in np.argsort(-likeness, kind="stable")[: max(0, most)]]


def palette(image: Image) -> Palette:
    """Return the square roots (n,) of a smoothed Lab histogram of `image`, of length 1."""
    lab = cv2.cvtColor(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    histogram = cv2.calcHist([lab], [0, 1, 2], None, list(LAB_BINS), [0, 256, *AB_RANGE, *AB_RANGE])
    smooth = smoothed(histogram)
    return np.asarray(np.sqrt(smooth / max(float(smooth.sum()), 1e-6)).ravel(), np.float32)


def smoothed(histogram: NDArray[Any]) -> NDArray[Any]:
    """Return a histogram (l, a, b) of which each bin has given a quarter to either neighbour, along each axis."""
    for axis in range(histogram.ndim):
        padded = np.pad(histogram, [(int(axis == other), int(axis == other)) for other in range(histogram.ndim)])
        bins = np.arange(histogram.shape[axis])
        low, middle, high = (np.take(padded, bins + step, axis=axis) for step in range(3))
        histogram = (low + 2 * middle + high) / 4
    return histogram
