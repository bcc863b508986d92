"""When the detector is asked in a shot, and which of the boxes it finds nobody is following yet.

A detector sees single frames and misses some; a tracker carries what was seen once through all the others. So a few
spread key frames suffice, and each of them mends what was lost since the one before.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from models.segment.boxes import Box, box_iou

KEY_EVERY = 8  # frames between key frames: 2.7 s of film at three a second
MIN_KEYS = 3  # in shots that have as many frames: a detector that errs once does not cost the shot
FOLLOWED = 0.3  # IoU of a box with that of the one track it may belong to
TAKEN = 0.7  # IoU with any followed track from which a box is a second look at it


def key_frames(frames: int) -> list[int]:
    """Return the frames that are shown to the detector, in order: the centres of equal parts of the shot.

    Centres, as the first and the last frame of a shot are the likeliest to be blurred by a transition.
    """
    count = min(frames, max(MIN_KEYS, -(-frames // KEY_EVERY)))
    return [(2 * part + 1) * frames // (2 * count) for part in range(count)]


def windows(frames: int, keys: Sequence[int], longest: int) -> Iterator[range]:
    """Yield the runs of frames whose masks are held at once; they follow on each other and cover the shot.

    Each but the last ends with a key frame: whoever is there at the seam is followed across it. A window has at most
    `longest` frames, or one stretch between key frames where that alone is longer.
    """
    start = 0
    ends = [*(key + 1 for key in keys[:-1]), frames]
    for number, end in enumerate(ends):
        if number + 1 == len(ends) or ends[number + 1] - start > longest:
            yield range(start, end)
            start = end


def new_boxes(found: Sequence[Box], followed: Sequence[Box]) -> list[int]:
    """Return which of the boxes `found` belong to none of those `followed`, by position.

    Each followed track explains one box, the pairs chosen together for the largest overlap: of two characters in front
    of each other, the one without a track stays new although its box overlaps the other's.
    """
    if not found or not followed:
        return list(range(len(found)))
    overlap = box_iou(found, followed)
    explained = {
        int(row)
        for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
        if overlap[row, column] >= FOLLOWED
    }
    explained |= {int(row) for row in np.flatnonzero(overlap.max(axis=1) >= TAKEN)}
    return [number for number in range(len(found)) if number not in explained]
