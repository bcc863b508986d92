"""How well shot boundaries were found."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from models.metrics.figure import share


class BoundaryScores(NamedTuple):
    """Precision, recall and F1; None where nothing was predicted, or nothing was there."""

    precision: float | None
    recall: float | None
    f1: float | None


def boundary_scores(predicted: Sequence[int], truth: Collection[int]) -> BoundaryScores:
    """Score boundaries that count only where they equal a true one.

    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN). A true boundary is matched
    once: a second prediction at the same place is a false one, as in TRECVID's shot boundary task (Smeaton, Over and
    Doherty 2010, "Video shot boundary detection: seven years of TRECVid activity").
    """
    matched = len(set(predicted) & set(truth))
    return BoundaryScores(
        precision=share(matched, len(predicted)),
        recall=share(matched, len(truth)),
        f1=share(2 * matched, len(predicted) + len(truth)),
    )
