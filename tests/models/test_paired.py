"""Paired differences: chances by flipped signs, and their correction for many comparisons."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics.paired import EXACT, LEVEL, fewest_units, holm, sign_flip_chance

VALUES = st.integers(-100, 100).map(float)


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_few_pairs_are_flipped_in_all_ways(values):
    differences = np.array(values)
    means = [abs(float((differences * signs).sum())) for signs in product((-1, 1), repeat=len(values))]
    expected = np.mean(np.array(means) >= abs(float(differences.sum())))
    assert sign_flip_chance(differences[None]) == pytest.approx(float(expected))


@given(st.lists(VALUES, min_size=1, max_size=20), st.floats(0.1, 10))
def test_a_chance_depends_neither_on_the_sign_nor_on_the_scale(values, scale):
    differences = np.array(values)[None]
    chance = sign_flip_chance(differences)
    assert 0 < chance <= 1
    assert sign_flip_chance(-differences) == chance
    assert sign_flip_chance(differences.T) == chance
    assert sign_flip_chance(4 * differences) == chance


def test_no_difference_is_certain_to_be_chance_and_a_steady_one_is_not():
    assert sign_flip_chance(np.zeros((3, 4))) == 1
    assert sign_flip_chance(np.full((1, 6), 0.2)) == 2 / 64
    assert sign_flip_chance(np.full((1, 32), 0.2)) < 1e-3


def test_random_flips_agree_with_all_of_them():
    differences = np.random.default_rng(3).normal(0.4, 1, (1, EXACT + 1))
    signs = np.array(list(product((-1, 1), repeat=EXACT + 1)))
    exact = (np.abs(signs @ differences[0]) >= abs(differences.sum()) - 1e-9).mean()
    assert sign_flip_chance(differences) == pytest.approx(exact, abs=0.01)


def test_prompts_are_flipped_whole_where_there_are_more_of_them():
    prompts = np.repeat(np.array([[1.0], [-1.0], [1.0], [1.0]]), 3, axis=1)  # (prompts, seeds)
    assert sign_flip_chance(prompts) == sign_flip_chance(prompts[:, :1]) == 10 / 16


def test_holms_own_way():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrected_chances_keep_their_order_and_never_fall(chances):
    corrected = holm(chances)
    assert all(before <= after <= 1 for before, after in zip(chances, corrected, strict=True))
    assert min(corrected) == pytest.approx(min(1, len(chances) * min(chances)))
    ranked = [corrected[n] for n in sorted(range(len(chances)), key=lambda n: chances[n])]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize("comparisons", [1, 2, 10, 60])
def test_fewer_units_than_said_can_show_nothing(comparisons):
    units = fewest_units(comparisons)
    assert comparisons * 2 / 2**units <= LEVEL < comparisons * 2 / 2 ** (units - 1)
