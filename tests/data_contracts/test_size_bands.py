"""Steps and rates by the number of pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.size_bands import even_repeats, sized
from data_contracts.training import TrainSettings

SETTINGS = TrainSettings(learning_rate=2e-4, text_encoder_learning_rate=1e-4, batch=4, accumulate=2)


@pytest.mark.parametrize(
    ("pictures", "rate", "steps"),
    [(60, 1.5e-4, 1500), (100, 1e-4, 1875), (400, 8e-5, 6000), (700, 5e-5, 8750)],
)
def test_small_sets_get_more_passes_at_a_higher_rate(pictures, rate, steps):
    found = sized(SETTINGS, pictures, pictures * 10)
    assert (found.learning_rate, found.steps) == (rate, steps)
    assert found.text_encoder_learning_rate == pytest.approx(rate / 2)
    assert found.rank == SETTINGS.rank


def test_a_tiny_set_still_warms_up_within_its_steps():
    found = sized(SETTINGS, 3, 3)
    assert found.warmup_steps < found.steps == 8


@given(st.integers(0, 5000), st.integers(0, 500))
def test_regularisation_weighs_as_much_as_the_subject_and_no_picture_much_more_than_another(slots: int, pictures: int):
    repeats = even_repeats(slots, pictures)
    assert len(repeats) == pictures
    assert not repeats or sum(repeats) == max(slots, pictures)
    assert not repeats or max(repeats) - 1 <= min(repeats) >= 1
