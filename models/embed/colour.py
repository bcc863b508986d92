"""How much of which colour a picture has: a soft histogram over CIE Lab."""

from collections.abc import Sequence

import cv2
import numpy as np

from models.embed import Embeddings, Image
from models.embed.crop import BACKGROUND

CHROMA_BINS = 12
LIGHTNESS_BINS = 4
SIDE = 96
"""Pictures are reduced to this many pixels a side before counting; colours need no more."""
BLUR_BINS = 0.8
"""Neighbouring bins share their counts, so that a shade more sun does not make another colour."""


class ColourHistogram:
    """An `Embedder` that sees nothing but colours, 576-d; needs no weights."""

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, 576)` float32 rows of length one."""
        return colour_histograms(images)


def colour_histograms(images: Sequence[Image]) -> Embeddings:
    """Return unit vectors of the square roots of colour shares, `(n, 4 * 12 * 12)` float32.

    The dot product of two is the Bhattacharyya coefficient of their histograms. Pixels of exactly the masked crops'
    grey are not counted; a picture of nothing else counts as that grey.

    Args:
        images: `(H, W, 3)` RGB uint8 each.
    """
    if not images:
        return np.zeros((0, LIGHTNESS_BINS * CHROMA_BINS**2), dtype=np.float32)
    return np.stack([colour_histogram(image) for image in images])


def colour_histogram(image: Image) -> Embeddings:
    """Return the histogram of one picture, `(4 * 12 * 12,)` float32 of length one."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    counted = lab[(small.reshape(-1, 3) != BACKGROUND).any(axis=1)]
    samples = counted if len(counted) else lab
    bins = (LIGHTNESS_BINS, CHROMA_BINS, CHROMA_BINS)
    # sRGB fills only the middle of 8-bit a and b: 42..226 and 20..223.
    counts, _ = np.histogramdd(samples, bins=bins, range=[(0, 256), (42, 227), (20, 224)])
    soft = np.stack([cv2.GaussianBlur(level, (0, 0), BLUR_BINS) for level in counts])
    roots = np.sqrt(soft.ravel() / soft.sum())
    return np.asarray(roots / np.linalg.norm(roots), dtype=np.float32)
