"""Shadows that characters cast, told by what their ground looks like when they have moved on.

It is what other frames show in more light (`registration.shading`), and hangs together with the hole. What stands
still casts a shadow that no frame of its shot can tell from paint.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Hole, Image
from models.registration.masks import close, dilate, pixels_of, size_at, touched
from models.registration.samples import median_of
from models.registration.shading import shading_of

HEIGHT = 360
"""Pixels of a frame's height in which shadows are looked for: they have no detail."""
LEAST_OTHERS = 2
"""Frames beside its own that show a shadow's ground."""

WEAKEST, SURE = 0.95, 0.88
"""Shares of the light that are left: at a shadow's edge; what some pixels of a shadow must have."""
MOST = 0.7
"""Share of a dark part that must look like a shadow: the soft edge of a dark thing does too."""
SMOOTH = 1.5
"""Pixels (Gaussian sigma) over which shares are taken: edges are never laid over each other to the pixel."""
TOUCH_AT_720P, RIM_AT_720P, GAP_AT_720P, SPECK_AT_720P = 12, 12, 12, 14
"""How near the hole a shadow begins, its soft edge, what may lie between both, and what is too thin for a shadow."""


def shadows_of(frames: Sequence[tuple[Image, Hole]]) -> list[Hole]:
    """Return the shadows (H, W) in each of several frames that are laid over each other.

    A frame is its pixels (H, W, 3), and where (H, W) it shows no character; a shadow hangs together with the rest.
    """
    size = size_at(HEIGHT, frames[0][1].shape)
    pixels = np.array([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture, _ in frames], np.uint8)
    hidden = np.array([touched(~shown, size) for _, shown in frames])
    ground = median_of(pixels.astype(np.float32), ~hidden)
    known = (~hidden).sum(axis=0) > LEAST_OTHERS
    small = [find_shadow(picture, hole, ground, known) for picture, hole in zip(pixels, hidden, strict=True)]
    return [_enlarged(one, shown) for one, (_, shown) in zip(small, frames, strict=True)]


def shadow_in(image: Image, hole: Hole, ground: Image, known: Hole) -> Hole:
    """Return the shadows (H, W) in one frame (H, W, 3), told by what its `ground` looks like where that is `known`."""
    size = size_at(HEIGHT, hole.shape)
    pixels, light = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (image, ground))
    found = find_shadow(np.asarray(pixels, np.uint8), touched(hole, size), light, ~touched(~known, size))
    return _enlarged(found, ~hole)


def _enlarged(shadow: Hole, shown: Hole) -> Hole:
    """Return a shadow at the size of `shown`, and only there."""
    size = shown.shape[::-1]
    return np.asarray((cv2.resize(shadow.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0) & shown)


def find_shadow(image: Image, hole: Hole, ground: NDArray[Any], known: Hole) -> Hole:
    """Return the shadows (H, W) in `image` (H, W, 3) that hang together with its `hole` (H, W).

    `ground` (H, W, 3) is what most frames show of the same places in grey levels, where it is `known` (H, W).
    """
    usable = known & ~hole
    shading = shading_of(_smoothed(image, usable), _smoothed(ground, usable))
    light, like_shadow = shading.light, shading.like_shadow
    darker = _without_specks(usable & (light < WEAKEST))
    count, parts = cv2.connectedComponents(darker.astype(np.uint8), connectivity=8)
    alike = np.bincount(parts[like_shadow], minlength=count) > MOST * np.bincount(parts.ravel(), minlength=count)
    near = dilate(hole, TOUCH_AT_720P)
    shadow = darker & alike[parts] & np.isin(parts, np.intersect1d(parts[near], parts[light < SURE]))
    shadow = dilate(_without_specks(shadow & like_shadow), RIM_AT_720P)  # not what is dark by itself and only touched
    between = dilate(shadow, 2 * GAP_AT_720P) & close(shadow | hole, GAP_AT_720P)
    return np.asarray((shadow | between) & ~hole)


def _smoothed(image: NDArray[Any], usable: Hole) -> NDArray[np.float32]:
    """Return `image` blurred over its usable pixels alone."""
    weight = cv2.GaussianBlur(usable.astype(np.float32), (0, 0), SMOOTH)[..., None]
    total = cv2.GaussianBlur(image.astype(np.float32) * usable[..., None], (0, 0), SMOOTH)
    return np.asarray(total / np.maximum(weight, 1e-3), np.float32)


def _without_specks(mask: Hole) -> Hole:
    """Return `mask` without what is thinner than a shadow, such as edges that parallax has moved."""
    side = pixels_of(SPECK_AT_720P, mask.shape[0]) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0)
