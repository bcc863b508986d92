"""How well labels agree with true classes."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from models.metrics.figure import share


class ClassScores(NamedTuple):
    """Precision and recall of one class, and how many items each was taken over."""

    precision: float | None
    predicted: int
    recall: float | None
    present: int


def class_scores(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, ClassScores]:
    """Return each class's precision TP / (TP + FP) and recall TP / (TP + FN), classes in alphabetical order.

    The empty label is not a class: an item may be of none, and one may go unlabelled.
    """
    present, labelled = Counter(truth), Counter(predicted)
    right = Counter(true for true, label in zip(truth, predicted, strict=True) if true == label)
    return {
        name: ClassScores(
            precision=share(right[name], labelled[name]),
            predicted=labelled[name],
            recall=share(right[name], present[name]),
            present=present[name],
        )
        for name in sorted({*present, *labelled} - {""})
    }
