"""Where the head is, from the silhouette and the pose alone: where to look for a face, and a box when none is found."""

import numpy as np
from numpy.typing import NDArray

from models.face import Box, Image

HEAD_SHARE = 0.2
"""Share of the silhouette's height, from its top, whose middle is taken for the head's."""
HEAD_OF_SHOULDERS = 0.75
"""The head's height in the distance from its top to the shoulders; the rest is the neck."""
HEAD_OF_HEIGHT = 1 / 3
"""The head's height in a silhouette without a sure pose."""
FACE_OF_HEAD = 0.75
"""The face (brows to chin) in the head's height; it hangs at the head's lower end."""
MIN_CONFIDENCE = 0.3
FACE_POINTS = slice(0, 5)
SHOULDERS = slice(5, 7)


def silhouette_box(alpha: Image) -> Box | None:
    """Return the tight box of `alpha` > 127, or None where nothing is."""
    rows, columns = np.nonzero((alpha > 127).any(axis=1))[0], np.nonzero((alpha > 127).any(axis=0))[0]  # noqa: PLR2004
    if len(rows) == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def head_centre(alpha: Image, box: Box) -> tuple[float, float]:
    """Return the median (x, y) of the silhouette's uppermost part; a median passes over a raised hand."""
    depth = max(1, round(HEAD_SHARE * (box[3] - box[1])))
    rows, columns = np.nonzero(alpha[int(box[1]) : int(box[1]) + depth] > 127)  # noqa: PLR2004
    return float(np.median(columns)) + 0.5, float(np.median(rows)) + box[1]


def face_box(keypoints: NDArray[np.float32], alpha: Image) -> Box | None:
    """Return a square that holds the face, or None for an empty silhouette.

    Sure eyes, ears, nose and shoulders of the pose place it; otherwise (a bust, a poor pose) the head part of the
    silhouette does. A detector's box is truer: this one serves where none finds the face.

    Args:
        keypoints: `(17, 3)` COCO keypoints with confidence.
        alpha: `(H, W)` uint8, 255 inside the character.
    """
    box = silhouette_box(alpha)
    if box is None:
        return None
    top, height = box[1], box[3] - box[1]
    x, _ = head_centre(alpha, box)
    head = HEAD_OF_HEIGHT * height
    if keypoints[FACE_POINTS, 2].mean() >= MIN_CONFIDENCE and keypoints[SHOULDERS, 2].mean() >= MIN_CONFIDENCE:
        x = float(keypoints[FACE_POINTS, 0].mean())
        drop = float(keypoints[SHOULDERS, 1].mean()) - head_top(alpha, x, top)
        head, top = max(HEAD_OF_SHOULDERS * drop, 1.0), head_top(alpha, x, top)
    side = FACE_OF_HEAD * head
    return x - side / 2, top + head - side, x + side / 2, top + head


def head_top(alpha: Image, x: float, otherwise: float) -> float:
    """Return the silhouette's first row at column `x`: raised hands may be higher than the head."""
    column = alpha[:, int(np.clip(x, 0, alpha.shape[1] - 1))] > 127  # noqa: PLR2004
    return float(np.argmax(column)) if column.any() else otherwise
