"""Pictures that show the same thing twice, within a shot and across shots, by their perceptual hashes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def near_duplicates(hashes: Sequence[str], quality: Sequence[float], most_bits: int) -> dict[int, int]:
    """Return which pictures repeat a better one, and by how many bits they differ from it.

    The best picture is kept, then each next best that differs from all kept ones by more than `most_bits`.

    Args:
        hashes: n perceptual hashes of 64 bits, as 16 hexadecimal digits.
        quality: n numbers; the larger is kept. Equal ones are kept in the order given.
        most_bits: 0..64 bits within which two pictures are the same; below 0 nothing is.
    """
    bits = np.array([int(each, 16) for each in hashes], np.uint64)
    ranked = sorted(range(len(hashes)), key=lambda n: (-quality[n], n))
    kept: NDArray[np.uint64] = np.empty(len(hashes), np.uint64)
    count, repeated = 0, {}
    for n in ranked:
        nearest = int(np.bitwise_count(kept[:count] ^ bits[n]).min()) if count else 65
        if nearest <= most_bits:
            repeated[n] = nearest
        else:
            kept[count] = bits[n]
            count += 1
    return repeated
