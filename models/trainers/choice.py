"""Which step of a training to keep, by its validations.

By held-out loss, a later step takes the place of the best one so far when it denoises the held-out pictures better by
more than one standard error of the difference. So chance, which alone moves the mean of few pictures a little, moves
nothing, and of steps that are alike the earliest is kept: the one that has learnt the least by heart. It is the
one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, 3.4.3, asked at each validation,
so that no weights but the best need be kept. Noise and timesteps are the same in all validations, so differences are
taken picture by picture; the standard error is over pictures alone, because the timesteps of one picture are not
independent.

By likeness, the same is asked of what is drawn: a later step is better when its pictures are liker to the held-out ones
by more than one standard error, do not show their captions worse by more than one, and no more of them repeat a learnt
picture. Their diversity is shown, not weighed: whoever learns one subject rightly draws less of everything else.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from data_contracts.validations import Validation

FEW_PICTURES = 6
"""Of fewer held-out pictures a validation says little."""
Choice = Literal["last", "best", "likeness"]
"""How a training's step is chosen: the values of `choose`."""


def is_better(later: Validation, earlier: Validation) -> bool:
    """Whether `later` has a lower loss by more than a standard error; of a single picture, any lower loss is better."""
    gain, error = _gain(earlier.held_out, later.held_out)
    return gain > error


def draws_better(later: Validation, earlier: Validation) -> bool:
    """Whether what `later` draws is liker by more than a standard error, and neither off its captions nor copied.

    Raises:
        ValueError: one of them has no likeness.
    """
    if later.drawn is None or earlier.drawn is None or not (later.drawn.likeness and earlier.drawn.likeness):
        message = f"steps {earlier.step} and {later.step}: no likeness was measured, by which to choose"
        raise ValueError(message)
    likeness, error = _gain(later.drawn.likeness, earlier.drawn.likeness)
    loss, text_error = _gain(earlier.drawn.text, later.drawn.text) if later.drawn.text else (0.0, 0.0)
    copies = (later.drawn.copies or 0) - (earlier.drawn.copies or 0)
    return likeness > error and loss <= text_error and copies <= 0


def best_of(course: Sequence[Validation], choice: Choice = "best") -> Validation | None:
    """Return the best of a training's validations, which come in order; the base model's, of step 0, is no candidate.

    choice: "likeness" asks `draws_better`, all else `is_better`.

    Returns:
        None where no step of the training was validated.
    """
    better: Callable[[Validation, Validation], bool] = draws_better if choice == "likeness" else is_better
    best: Validation | None = None
    for each in course:
        if each.step and (best is None or better(each, best)):
            best = each
    return best


def is_exhausted(course: Sequence[Validation], patience: int, choice: Choice = "best") -> bool:
    """Whether `patience` validations have come after the best one; 0 is patience without end."""
    best = best_of(course, choice)
    return bool(patience) and best is not None and sum(each.step > best.step for each in course) >= patience


def _gain(larger: Sequence[float], smaller: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the differences, picture by picture, and its standard error; 0 of a single picture."""
    gains = [one - other for one, other in zip(larger, smaller, strict=True)]
    return fmean(gains), stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0
