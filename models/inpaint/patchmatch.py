"""PatchMatch (Barnes, Shechtman, Finkelstein, Goldman, 2009): fill a hole with patches of the same picture.

No weights and no training: it continues textures and edges well and cannot invent objects. The cost grows with the
hole's area, so that only the hole's surroundings are looked at, and large ones at a smaller size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from patchmatch_cython import inpaint_pyramid

from models.registration import Hole, Image

PATCH = 7
SEEDS = (1, 2, 3, 4)  # the search starts at random and may settle on the wrong thing
FEATHER = 2.0  # pixels
SURROUNDINGS = 0.75  # of the hole's longer side, to each side: where patches are taken from
LEAST_SURROUNDINGS = 48
MAX_HOLE_PIXELS = 16_000  # about 3 s for all seeds; a larger hole is filled at a smaller size
MIN_SIDE = 4 * PATCH
ROUNDS = 2  # of matching and voting at the coarse levels


class PatchMatchInpainter:
    """The `patchmatch` backend."""

    def fill(self, image: Image, hole: Hole) -> Image:
        """Return `image` with the pixels of `hole` replaced (see `Inpainter`)."""
        if hole.shape != image.shape[:2] or hole.all():
            message = f"a hole of {hole.sum()} pixels, {hole.shape}, cannot be filled in a picture of {image.shape[:2]}"
            raise ValueError(message)
        if not hole.any():
            return image.copy()
        window = _surroundings(hole)
        part, gap = np.ascontiguousarray(image[window]), hole[window]
        scale = min(1.0, float(np.sqrt(MAX_HOLE_PIXELS / gap.sum())))
        if scale < 1 and min(gap.shape) * scale >= MIN_SIDE:
            guess = _fill_smaller(part, gap, scale)
        else:
            guess = _complete(part, gap)
        filled = image.copy()
        filled[window][gap] = guess[gap]
        return filled


def _complete(image: Image, hole: Hole) -> NDArray[np.uint8]:
    """Fill `hole` from several random starts; return the fill with the faintest seam."""
    return min((_complete_once(image, hole, seed) for seed in SEEDS), key=lambda filled: _seam(filled, hole))


def _complete_once(image: Image, hole: Hole, seed: int) -> NDArray[np.uint8]:
    # The library's default blend blurs a rim of 8 px; a narrow feather hides the seam and keeps edges sharp.
    filled = inpaint_pyramid(
        image, hole, patch_size=PATCH, seed=seed, em_loops=ROUNDS, reverse_search=True, mask_feather=FEATHER
    )
    return np.asarray(filled, np.uint8)


def _seam(filled: Image, hole: Hole) -> float:
    """Return the mean step, in grey levels of the largest channel, from the picture into the hole."""
    steps = []
    for axis in (0, 1):
        border = np.diff(hole.astype(np.int8), axis=axis) != 0
        steps.append(np.abs(np.diff(filled.astype(np.int16), axis=axis)).max(axis=-1)[border])
    return float(np.concatenate(steps).mean())


def _fill_smaller(image: Image, hole: Hole, scale: float) -> NDArray[np.uint8]:
    size = (round(hole.shape[1] * scale), round(hole.shape[0] * scale))
    # The hole's own colours must not bleed into its rim when the picture shrinks: weigh them with nothing.
    outside = cv2.resize((~hole).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    kept = cv2.resize(image.astype(np.float32) * ~hole[..., None], size, interpolation=cv2.INTER_AREA)
    smaller = np.clip(kept / np.maximum(outside, 1e-3)[..., None], 0, 255).round().astype(np.uint8)
    gap = outside < 0.5  # noqa: PLR2004
    if not gap.any():
        gap[np.unravel_index(int(outside.argmin()), outside.shape)] = True
    guess = _complete(smaller, gap)
    return np.asarray(cv2.resize(guess, hole.shape[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _surroundings(hole: Hole) -> tuple[slice, slice]:
    """Return the rows and columns around `hole` that patches are taken from; never only the hole."""
    ys, xs = np.nonzero(hole)
    margin = max(LEAST_SURROUNDINGS, round(SURROUNDINGS * max(np.ptp(ys), np.ptp(xs)) + 1))
    window = (
        slice(max(0, int(ys.min()) - margin), int(ys.max()) + margin + 1),
        slice(max(0, int(xs.min()) - margin), int(xs.max()) + margin + 1),
    )
    return (slice(None), slice(None)) if hole[window].mean() > 0.6 else window  # noqa: PLR2004
