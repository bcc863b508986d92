"""What detection networks put out, read as boxes in a frame: the same for all of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.segment.boxes import Box, area, clip_box, suppress
from models.segment.detect import DetectedBox

SAME_THING = 0.5  # IoU above which two boxes are one thing, whatever their words
MIN_SHARE = 0.001  # of the frame; smaller things are no subject of a LoRA


def read_boxes(
    centred: NDArray[np.float32],
    scores: NDArray[np.float32],
    words: Sequence[str],
    size: tuple[int, int],
    threshold: float,
) -> list[DetectedBox]:
    """Return the boxes of a frame that reach `threshold`, the surest first, one a thing.

    Args:
        centred: `(n, 4)` centre x, centre y, width, height in pixels of the frame.
        scores: `(n, words)` 0..1.
        words: what the columns of `scores` stand for.
        size: (height, width) of the frame, to which boxes are cut.
        threshold: 0..1.
    """
    found: list[DetectedBox] = []
    for (x, y, width, height), row in zip(centred.tolist(), scores, strict=True):
        box: Box = clip_box((x - width / 2, y - height / 2, x + width / 2, y + height / 2), size)
        best = int(np.argmax(row))
        if row[best] >= threshold and area(box) >= MIN_SHARE * size[0] * size[1]:
            found.append(DetectedBox(box, float(row[best]), words[best]))
    kept = suppress([one.box for one in found], [one.score for one in found], SAME_THING)
    return [found[number] for number in kept]


def checked_words(words: Sequence[str]) -> list[str]:
    """Return `words` trimmed and in lower case.

    Raises:
        ValueError: there are none, or one of them is blank or has a full stop, which separates them in a prompt.
    """
    plain = [word.strip().lower() for word in words]
    if not plain or any(not word or "." in word for word in plain):
        message = f"segment_layers.words is {list(words)}: name what to look for, such as 'a boy', without full stops"
        raise ValueError(message)
    return plain
