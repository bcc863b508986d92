"""Steps and rates by the number of pictures."""

import pytest

from data_contracts.size_bands import sized
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
