"""Which step of a training to keep, by its validations.

A later step takes the place of the best one so far when it denoises the held-out pictures better by more than one
standard error of the difference. So chance, which alone moves the mean of few pictures a little, moves nothing, and of
steps that are alike the earliest is kept: the one that has learnt the least by heart. It is the one-standard-error rule
of Breiman et al., Classification and Regression Trees, 1984, 3.4.3, asked at each validation, so that no weights but
the best need be kept. Noise and timesteps are the same in all validations, so differences are taken picture by
picture; the standard error is over pictures alone, because the timesteps of one picture are not independent.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from data_contracts.training import Validation

FEW_PICTURES = 6
"""Of fewer held-out pictures a validation says little."""


def is_better(later: Validation, earlier: Validation) -> bool:
    """Whether `later` has a lower loss by more than a standard error; of a single picture, any lower loss is better."""
    gains = [before - after for before, after in zip(earlier.held_out, later.held_out, strict=True)]
    error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0
    return fmean(gains) > error


def best_of(course: Sequence[Validation]) -> Validation | None:
    """Return the best of a training's validations, which come in order; the base model's, of step 0, is no candidate.

    Returns:
        None where no step of the training was validated.
    """
    best: Validation | None = None
    for each in course:
        if each.step and (best is None or is_better(each, best)):
            best = each
    return best


def is_exhausted(course: Sequence[Validation], patience: int) -> bool:
    """Whether `patience` validations have come after the best one; 0 is patience without end."""
    best = best_of(course)
    return bool(patience) and best is not None and sum(each.step > best.step for each in course) >= patience
