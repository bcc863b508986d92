"""One colour for each pixel out of the samples that several views give of it."""

import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 9  # of one pixel; the nearest in time, where parallax is least
MAX_DISAGREEMENT = 22.0  # grey levels, median over samples of the largest channel's distance from their median


def settle(samples: NDArray[np.uint8], seen: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return (h, w, 3): the median of the seen samples where they agree, else the first of them; and (h, w), how far.

    `samples` (n, h, w, 3) are the nearest in time first; what no sample shows, by `seen` (n, h, w), is of no meaning.
    How far they are apart, in grey levels, is the median of the largest channel's distance from their median.
    """
    nearest = seen & (np.cumsum(seen, axis=0) <= MAX_SAMPLES)
    median = median_of(samples.astype(np.float32), nearest)
    apart = median_of(np.abs(samples - median).max(axis=-1)[..., None], nearest)[..., 0]
    first = np.take_along_axis(samples, seen.argmax(axis=0)[None, ..., None], axis=0)[0]
    settled = np.where((apart > MAX_DISAGREEMENT)[..., None], first, median.round())
    return np.asarray(settled, np.uint8), apart


def median_of(values: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the median (h, w, c) of the `chosen` (n, h, w) of `values` (n, h, w, c); of no meaning without any."""
    ordered = np.sort(np.where(chosen[..., None], values, np.float32(np.inf)), axis=0)
    count = chosen.sum(axis=0)[None, ..., None]
    low, high = (np.take_along_axis(ordered, np.maximum(middle, 0) // 2, axis=0)[0] for middle in (count - 1, count))
    return np.asarray(np.where(count[0] > 0, (low + high) / 2, 0), np.float32)
