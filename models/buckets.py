"""Buckets: sizes of several shapes and about one area, so that pictures need not be cut to squares to be trained on.

NovelAI, Improvements on Stable Diffusion, 2022, "Aspect Ratio Bucketing". For the same step and the same shortest and
longest side they are the sizes of kohya's sd-scripts.
"""

import math
from collections.abc import Iterable

Size = tuple[int, int]
"""Width and height in pixels."""
MOST_STEP = 64
"""Pixels: what Stable Diffusion's U-Net halves three times on latents of an eighth of the picture."""
STEPS_A_SIDE = 8
"""Of the square of a small resolution, so that it has as many shapes as one of 512 pixels."""
MOST_ASPECT = 2.0


def bucket_step(resolution: int, multiple: int = 8) -> int:
    """Return what all sides are multiples of, in pixels: 64, less where the resolution is below 512.

    Args:
        resolution: side in pixels of the square whose area the buckets have.
        multiple: what the base model's family needs sides to be multiples of.
    """
    return max(multiple, min(MOST_STEP, resolution // STEPS_A_SIDE) // multiple * multiple)


def buckets(resolution: int, multiple: int = 8) -> tuple[Size, ...]:
    """Return the sizes of a resolution, from the tallest to the widest: the square, and down to 1:2 and up to 2:1.

    Each has the most area of its width, or else of its height, that is not above the square's.
    """
    step, area = bucket_step(resolution, multiple), resolution**2
    square = resolution // step * step
    sizes = {(square, square)}
    for side in range(step, area // step, step):
        other = area // side // step * step
        if other and max(side, other) <= MOST_ASPECT * min(side, other):
            sizes |= {(side, other), (other, side)}
    return tuple(sorted(sizes, key=lambda size: (size[0] / size[1], size)))


def nearest_bucket(width: float, height: float, among: Iterable[Size]) -> Size:
    """Return the size whose shape is nearest to that of a picture: whichever side is too long, as little is cut off."""
    wanted = math.log(width / height)
    return min(among, key=lambda size: abs(math.log(size[0] / size[1]) - wanted))
