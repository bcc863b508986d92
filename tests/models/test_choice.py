"""The best step of a training is chosen by its validations, and chance alone chooses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.results import CopyCheck
from data_contracts.validations import Drawn, Validation
from models.trainers.choice import best_of, draws_better, is_better, is_exhausted

LOSS = st.floats(0.01, 4)


@st.composite
def courses(draw) -> list[Validation]:
    """Validations of the same pictures at rising steps; the first may be the base's."""
    pictures = draw(st.integers(1, 6))
    start = draw(st.integers(0, 1))
    rows = draw(st.lists(st.lists(LOSS, min_size=pictures, max_size=pictures), min_size=1, max_size=8))
    return [Validation(step=10 * (start + n), held_out=tuple(row)) for n, row in enumerate(rows)]


@given(courses())
def test_nothing_later_is_better_and_nothing_better_was_given_up(course):
    best = best_of(course)
    steps = [each for each in course if each.step]
    if best is None:
        assert not steps
        return
    assert best in steps
    assert not any(is_better(later, best) for later in steps if later.step > best.step)
    assert best.loss <= steps[0].loss
    assert best == best_of([*course, best.model_copy(update={"step": 1000})])  # of two alike the earlier


@given(courses(), st.randoms())
def test_the_order_of_the_pictures_does_not_matter(course, chance):
    order = list(range(len(course[0].held_out)))
    chance.shuffle(order)
    mixed = [each.model_copy(update={"held_out": tuple(each.held_out[n] for n in order)}) for each in course]
    assert (best_of(course) or course[0]).step == (best_of(mixed) or mixed[0]).step


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.integers(2, 6))
def test_where_all_pictures_agree_the_first_of_the_lowest_is_best(levels, pictures):
    """Whole numbers: the differences of all pictures are then equal to the bit."""
    course = [Validation(step=n + 1, held_out=tuple(float(level + k) for k in range(pictures)))
              for n, level in enumerate(levels)]  # fmt: skip
    assert best_of(course).step == levels.index(min(levels)) + 1


def test_a_gain_within_one_standard_error_is_none():
    first = Validation(step=1, held_out=(1.0, 1.0, 1.0, 1.0))
    lucky = Validation(step=2, held_out=(0.5, 1.0, 1.0, 1.0))  # .125 better, with a standard error of .125
    sound = Validation(step=3, held_out=(0.9, 0.9, 0.8, 0.9))
    assert lucky.loss == sound.loss
    assert best_of([first, lucky]) == first
    assert best_of([first, lucky, sound]) == sound


def test_gains_add_up_although_none_is_one_alone():
    """Each is compared with the best so far, not with the one before: a slow fall is seen."""
    losses = [tuple(level + (0.02 * n if k else -0.02 * n) for k in range(2)) for n, level in enumerate((1, 0.99, 0.9))]
    course = [Validation(step=n + 1, held_out=each) for n, each in enumerate(losses)]
    assert not is_better(course[1], course[0])
    assert best_of(course) == course[2]


@pytest.mark.parametrize(("patience", "ends_after"), [(1, 3), (2, 4), (0, None)])
def test_patience_counts_the_validations_after_the_best(patience, ends_after):
    course = [Validation(step=10 * n, held_out=(loss, loss)) for n, loss in enumerate((3.0, 2.0, 1.0, 1.5, 1.2, 1.1))]
    ended = [n for n in range(len(course)) if is_exhausted(course[: n + 1], patience)]
    assert (ended[0] if ended else None) == ends_after


def test_the_base_model_is_never_chosen():
    course = [Validation(step=0, held_out=(1.0,)), Validation(step=5, held_out=(2.0,))]
    assert best_of(course).step == 5
    assert best_of(course[:1]) is None
    assert not is_exhausted(course[:1], 1)


def drew(step: int, likeness: tuple[float, ...], text: tuple[float, ...] = (), copies: int | None = None) -> Validation:
    checks = [
        CopyCheck(nearest="a", to_training=0.1 if n < (copies or 0) else 1, to_held_out=1, is_copy=n < (copies or 0))
        for n in range(len(likeness) if copies is not None else 0)
    ]
    found = Drawn(pictures=len(likeness), likeness=likeness, text=text, copying=tuple(checks))
    return Validation(step=step, held_out=(1.0,), drawn=found)


def test_by_likeness_a_step_gains_unless_captions_or_copies_pay_for_it():
    early = drew(1, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3), 0)
    assert draws_better(drew(2, (0.6, 0.6, 0.7), (0.3, 0.3, 0.3), 0), early)
    assert not draws_better(drew(2, (0.8, 0.5, 0.5), (0.3, 0.3, 0.3), 0), early)  # .1, with a standard error of .1
    assert not draws_better(drew(2, (0.6, 0.6, 0.7), (0.2, 0.2, 0.1), 0), early)  # not what was asked for
    assert not draws_better(drew(2, (0.6, 0.6, 0.7), (0.3, 0.3, 0.3), 1), early)  # a learnt picture
    assert draws_better(drew(2, (0.6, 0.6, 0.7)), drew(1, (0.5, 0.5, 0.5)))  # what is not measured stops nothing


def test_by_likeness_and_by_loss_different_steps_are_best():
    course = [drew(0, (0.9, 0.9)), drew(1, (0.2, 0.2)), drew(2, (0.4, 0.5)), drew(3, (0.4, 0.5))]
    assert best_of(course).step == 1  # all losses are alike
    assert best_of(course, "likeness").step == 2
    assert is_exhausted(course, 1, "likeness")
    assert not is_exhausted(course, 2, "likeness")


def test_without_likeness_nothing_is_chosen_by_it():
    course = [Validation(step=step, held_out=(1.0,)) for step in (1, 2)]
    with pytest.raises(ValueError, match="steps 1 and 2: no likeness was measured"):
        best_of(course, "likeness")
