"""Two characters in one blob, cut apart by what they looked like when they were seen apart.

At three frames a second a runner moves by his own width between two frames, so that place alone says little. Colours
that only one of the two wears show that both are there, and where; each pixel then goes to whom it is near and like.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.segment.instances import Instance

SEEN_APART = 2  # frames in a row; once may be a character in two pieces
PRESENT = 0.35  # of the pixels that only one character can have
DISTINCT = 1.0  # nats by which a colour must be likelier on one character than on the others
MIN_DISTINCT = 0.1  # of a character's pixels; twins cannot be told apart by colour
REACH = 0.35  # of the height: farther nobody goes in a third of a second
COARSE = 4  # the search for the new place runs on a picture this much smaller
PLACE_SHARE = 0.02  # of the height: distance that weighs as much as one nat of colour


def split_touching(frames: Sequence[Sequence[Instance]]) -> list[list[Instance]]:
    """Cut blobs of characters seen apart in the frames before, then of those seen apart in the frames after."""
    forward = _split_along([list(instances) for instances in frames])
    return _split_along(forward[::-1])[::-1]


def _split_along(frames: list[list[Instance]]) -> list[list[Instance]]:
    for number in range(SEEN_APART, len(frames)):
        before, blobs = frames[number - 1], frames[number]
        apart = min(len(before), len(frames[number - 2]))
        if apart >= 2 and 0 < len(blobs) < len(before):  # noqa: PLR2004
            frames[number] = _split_frame(blobs, before)
    return frames


def _split_frame(blobs: Sequence[Instance], before: Sequence[Instance]) -> list[Instance]:
    """Give each character of the frame before to the blob that shows most of it; cut blobs that got several."""
    logs = [np.log(piece.histogram() + 0.002) for piece in before]
    claims: list[list[int]] = [[] for _ in blobs]
    for number, piece in enumerate(before):
        rivals = np.max([log for other, log in enumerate(logs) if other != number], axis=0)
        shown = [_presence(piece, blob, logs[number] - rivals) for blob in blobs]
        if max(shown) >= PRESENT:
            claims[int(np.argmax(shown))].append(number)
    cut: list[Instance] = []
    for blob, claim in zip(blobs, claims, strict=True):
        lone = len(claim) < 2  # noqa: PLR2004
        cut += [blob] if lone else _divide(blob, [before[k] for k in claim], [logs[k] for k in claim])
    return cut


def _presence(piece: Instance, blob: Instance, advantage: NDArray[np.float64]) -> float:
    """Return how much of what only `piece` wears is seen on `blob`: 0 for none, 1 for as much as it had."""
    reach = 2 * round(REACH * blob.alpha.shape[0]) + 1
    around = cv2.blur(piece.mask.astype(np.float32), (reach, reach)) > 0
    own = (advantage > DISTINCT)[piece.colours]
    before = (own & piece.mask).sum()
    if before < MIN_DISTINCT * piece.mask.sum():
        return 0.0
    return float(((advantage > DISTINCT)[blob.colours] & blob.mask & around).sum() / before)


def _divide(blob: Instance, pieces: Sequence[Instance], logs: Sequence[NDArray[np.float64]]) -> list[Instance]:
    """Give each pixel of `blob` to the piece that is near, once moved to where its colours are, and has its colour."""
    costs = []
    for number, (piece, log) in enumerate(zip(pieces, logs, strict=True)):
        rivals = np.max([other for k, other in enumerate(logs) if k != number], axis=0)
        moved = _moved_to(piece, blob, np.clip(log - rivals, -2, 2))
        away = cv2.distanceTransform((~moved).astype(np.uint8), cv2.DIST_L2, 3)
        within = cv2.distanceTransform(moved.astype(np.uint8), cv2.DIST_L2, 3)
        unlike = cv2.GaussianBlur(-log[blob.colours].astype(np.float32), (0, 0), 1.5)
        costs.append((away - within) / (PLACE_SHARE * blob.alpha.shape[0]) + unlike)
    owner = np.argmin(costs, axis=0)
    cut = [replace(blob, alpha=np.where(owner == k, blob.alpha, 0).astype(np.uint8)) for k in range(len(pieces))]
    return [piece for piece in cut if piece.mask.any()]


def _moved_to(piece: Instance, blob: Instance, advantage: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask of `piece` (H, W), shifted to where it covers most of its own colours on `blob`."""
    height, width = blob.alpha.shape
    reach = round(REACH * height / COARSE)
    size = (width // COARSE, height // COARSE)
    field = np.where(blob.mask, advantage[blob.colours], -0.5).astype(np.float32)
    coarse = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)
    field = np.pad(coarse, reach)
    shape = cv2.resize(piece.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    score = cv2.matchTemplate(field, shape, cv2.TM_CCORR)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    shift = np.array([[1, 0, (x - reach) * COARSE], [0, 1, (y - reach) * COARSE]], np.float32)
    return np.asarray(cv2.warpAffine(piece.mask.astype(np.uint8), shift, (width, height)) > 0)
