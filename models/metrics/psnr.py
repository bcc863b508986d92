"""Peak signal-to-noise ratio, pooled over pictures."""

import math

import numpy as np
from numpy.typing import NDArray

from models.metrics.overlap import Mask

PEAK = 255.0
CAP_DB = 99.0
"""What equal pictures score: their ratio is infinite, and JSON has no infinity."""


def squared_errors(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], inside: Mask, kinds: NDArray[np.uint8], kind_count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return, for each kind of pixel, the sum of squared differences over the channels and the number of pixels.

    Both pictures are `(H, W, 3) RGB uint8`; only pixels `inside` count; `kinds` is `(H, W)`, 0 to `kind_count` - 1.

    Raises:
        ValueError: a pixel inside is of no known kind.
    """
    of_kind = kinds[inside].astype(np.int64)  # (pixels,)
    if of_kind.size and of_kind.max() >= kind_count:
        message = f"pixel kind {of_kind.max()} is none of 0 to {kind_count - 1}"
        raise ValueError(message)
    difference = predicted[inside].astype(np.float64) - truth[inside].astype(np.float64)  # (pixels, 3)
    errors = np.bincount(of_kind, weights=np.square(difference).sum(axis=1), minlength=kind_count)
    return errors.astype(np.float64), np.bincount(of_kind, minlength=kind_count).astype(np.int64)


def psnr_db(squared_error: float, pixels: int, channels: int = 3) -> float | None:
    """Return 10 log10(255^2 / MSE) in dB, at most `CAP_DB`; None without pixels.

    MSE is the mean over pixels and channels. Pooling sums before the logarithm: the mean of pictures' ratios would
    let small easy pictures outweigh large hard ones.
    """
    if pixels == 0:
        return None
    if squared_error <= 0:
        return CAP_DB
    return min(CAP_DB, 10 * math.log10(PEAK**2 * pixels * channels / squared_error))
