"""Masks grown, shrunk and made smaller, where they reach, and lengths that go with the height of a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Hole

Window = tuple[slice, slice]
"""Rows and columns of a rectangle."""
DILATION_AT_720P = 20  # pixels; residue of the character was gone at 20, not at 15


def pixels_of(at_720p: int, height: int) -> int:
    """Return a length in pixels of a picture of `height`, at least one."""
    return max(1, round(at_720p * height / 720))


def dilate(mask: Hole, at_720p: int = DILATION_AT_720P) -> Hole:
    """Return `mask` (H, W) grown by `at_720p` pixels of a height of 720; the default leaves no rim of a character."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(at_720p, mask)) > 0)


def close(mask: Hole, at_720p: int) -> Hole:
    """Return `mask` (H, W) with its gaps, as far as no disc of `at_720p` pixels of a height of 720 fits into them."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(at_720p, mask)) > 0)


def shrink(mask: Hole, pixels: int) -> Hole:
    """Return `mask` without its outermost `pixels`; the picture's border does not count."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)) > 0)


def touched(mask: Hole, size: tuple[int, int]) -> Hole:
    """Return which pixels of a picture of `size` (width, height), no larger than `mask`, it touches."""
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)


def size_at(most_height: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the width and height of a picture of `shape` (height, width) that is made no higher than `most_height`."""
    height, width = shape
    scale = min(1.0, most_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def extent(mask: Hole) -> Window:
    """Return the rows and columns that a mask reaches; it must show something."""
    ys, xs = np.nonzero(mask)
    return slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1)


def wider(window: Window, by: int, size: tuple[int, ...]) -> Window:
    """Return `window` grown by `by` pixels within a picture of `size` (height, width)."""
    rows, columns = (
        slice(max(0, part.start - by), min(most, part.stop + by)) for part, most in zip(window, size, strict=True)
    )
    return rows, columns


def _disc(at_720p: int, mask: Hole) -> NDArray[np.uint8]:
    """Return a disc of this radius, in pixels of a height of 720, at the size of `mask`."""
    side = 2 * pixels_of(at_720p, mask.shape[0]) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
