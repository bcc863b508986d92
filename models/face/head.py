"""Where the head is, from the silhouette alone: where to look for a face."""

import numpy as np

from models.face import Box, Image

HEAD_SHARE = 0.2
"""Share of the silhouette's height, from its top, whose middle is taken for the head's."""


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


def head_top(alpha: Image, x: float, otherwise: float) -> float:
    """Return the silhouette's first row at column `x`: raised hands may be higher than the head."""
    column = alpha[:, int(np.clip(x, 0, alpha.shape[1] - 1))] > 127  # noqa: PLR2004
    return float(np.argmax(column)) if column.any() else otherwise
