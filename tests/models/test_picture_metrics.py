"""Measures of generated pictures, each against a truth that was planted."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embed import EMBEDDERS, unit_rows
from models.metrics.bootstrap import mean_interval
from models.metrics.copying import LEAST_HELD_OUT, Layouts, nearest
from models.metrics.diversity import mean_distance, vendi_score
from models.metrics.likeness import likeness, subject_alone
from tests.models.sample_film import frames, plates, rows

SIDE = 128
UNIT_ROWS = st.tuples(st.integers(2, 12), st.integers(2, 8), st.integers(0, 2**32 - 1)).map(
    lambda drawn: unit_rows(np.random.default_rng(drawn[2]).normal(size=drawn[:2]).astype(np.float32))
)


def square(image: np.ndarray, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """The square around a box, or the middle of the picture."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box or (width / 2, 0, width / 2, height)
    side = int(min(max(x1 - x0, y1 - y0) * 1.2, height, width))
    left = int(np.clip((x0 + x1 - side) / 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) / 2, 0, height - side))
    cut = image[top : top + side, left : left + side]
    return cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def pictures_of(name: str, *shots: int) -> list[np.ndarray]:
    return [square(row.image, row.box) for shot in shots for row in rows(shot) if row.truth["id"] == name]


# likeness


def test_likeness_ranks_the_character_above_another_and_both_above_nobody():
    embedder = EMBEDDERS.load("efficientnet-lite0+colour")
    held_out = [
        subject_alone(square(row.image, row.box), square(row.alpha, row.box)) for row in (*rows(7), *rows(12))[::3]
    ]
    shown = {
        "luca": pictures_of("luca", 1, 2, 4),
        "gia": pictures_of("gia", 3, 4, 6),
        "nobody": [square(plate) for shot in (1, 3, 6) for plate in plates(shot)[:6]],
    }
    known = embedder.embed(held_out)
    scores = {name: likeness(embedder.embed(pictures[::2]), known) for name, pictures in shown.items()}
    means = {name: values.mean() for name, values in scores.items()}
    assert means["luca"] > means["gia"] + 0.05
    assert means["gia"] > means["nobody"] + 0.05
    pairs = [luca > gia for luca in scores["luca"] for gia in scores["gia"]]
    assert np.mean(pairs) > 0.9


def test_the_ground_does_not_count_in_what_a_subject_is_compared_with():
    row = rows(7)[0]
    elsewhere = np.where(row.alpha[..., None] >= 128, row.image, np.uint8(3))
    assert np.array_equal(subject_alone(elsewhere, row.alpha), subject_alone(row.image, row.alpha))


@given(UNIT_ROWS)
def test_likeness_is_the_mean_of_all_cosines(vectors):
    half = len(vectors) // 2
    expected = (vectors[:half] @ vectors[half:].T).mean(axis=1)
    assert np.allclose(likeness(vectors[:half], vectors[half:]), expected, atol=1e-5)
    assert likeness(vectors, vectors[:0]) is None


# diversity


@given(st.integers(2, 10))
def test_vendi_counts_pictures_that_have_nothing_in_common(count):
    assert vendi_score(np.eye(count, dtype=np.float32)) == pytest.approx(count)
    assert vendi_score(np.repeat(np.eye(count, dtype=np.float32)[:1], count, axis=0)) == pytest.approx(1)


@given(UNIT_ROWS, st.randoms())
def test_vendi_depends_neither_on_order_nor_on_how_often_the_whole_set_is_shown(vectors, random):
    score = vendi_score(vectors)
    assert 1 - 1e-6 <= score <= len(vectors) + 1e-6
    order = list(range(len(vectors)))
    random.shuffle(order)
    assert vendi_score(vectors[order]) == pytest.approx(score)
    assert vendi_score(np.concatenate([vectors, vectors])) == pytest.approx(score)


@given(UNIT_ROWS)
def test_the_mean_distance_is_over_all_pairs(vectors):
    pairs = [1 - float(a @ b) for n, a in enumerate(vectors) for b in vectors[n + 1 :]]
    assert mean_distance(vectors) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_diversity_falls_where_pictures_repeat():
    vectors = EMBEDDERS.load("efficientnet-lite0").embed(pictures_of("luca", 1, 7)[::3] + pictures_of("gia", 3)[::3])
    repeated = np.concatenate([vectors[:2]] * len(vectors))[: len(vectors)]
    for measure in (vendi_score, mean_distance):
        assert measure(repeated) < 0.7 * measure(vectors)
        assert measure(vectors[:1]) is None


# copying


def cropped(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    side = int(SIDE * random.uniform(0.85, 0.95))
    top, left = random.integers(0, SIDE - side, 2)
    part = picture[top : top + side, left : left + side]
    return cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


CHANGES = {
    "nothing": lambda picture, random: picture,
    "noise": lambda picture, random: np.clip(picture + random.normal(0, 10, picture.shape), 0, 255).astype(np.uint8),
    "mirrored": lambda picture, random: np.ascontiguousarray(picture[:, ::-1]),
    "lighter": lambda picture, random: np.clip(picture * 0.8 + 40, 0, 255).astype(np.uint8),
    "blurred": lambda picture, random: cv2.GaussianBlur(picture, (0, 0), 1.5),
    "cropped": cropped,
}


@pytest.fixture(scope="module")
def training() -> list[np.ndarray]:
    return pictures_of("luca", 1, 2, 7)


@pytest.fixture(scope="module")
def known(training) -> tuple[Layouts, Layouts]:
    return Layouts(training), Layouts(pictures_of("luca", 8, 10))


@pytest.mark.parametrize("change", CHANGES)
def test_memorised_pictures_are_copies_of_the_ones_they_repeat(change, training, known):
    random = np.random.default_rng(5)
    found = [nearest(CHANGES[change](picture, random), *known) for picture in training]
    assert np.mean([each.is_copy for each in found]) >= 0.9
    seen = [
        np.abs(training[each.training].astype(int) - picture).mean()
        for each, picture in zip(found, training, strict=True)
    ]
    assert np.median(seen) < 4  # neighbouring frames may be nearest, hardly different


def test_memorised_pictures_stand_out_among_fresh_ones(training, known):
    random = np.random.default_rng(6)
    memorised = [cropped(CHANGES["noise"](picture[:, ::-1], random), random) for picture in training[::9]]
    fresh = pictures_of("luca", 4, 12) + pictures_of("gia", 3, 9) + [square(plate) for plate in plates(6)]
    assert all(nearest(picture, *known).is_copy for picture in memorised)
    assert sum(nearest(picture, *known).is_copy for picture in fresh) == 0
    assert len(fresh) > 50


def test_what_was_held_out_too_is_no_copy(training):
    both = Layouts(training[:LEAST_HELD_OUT])
    assert not any(nearest(picture, both, both).is_copy for picture in training[:LEAST_HELD_OUT])


def test_nothing_is_said_of_copies_where_too_little_is_known(training):
    few, enough = Layouts(training[: LEAST_HELD_OUT - 1]), Layouts(training[:LEAST_HELD_OUT])
    assert nearest(training[0], enough, few) is None
    assert nearest(training[0], Layouts([]), enough) is None
    found = nearest(np.full((40, 60, 3), 90, np.uint8), enough, enough)
    assert not found.is_copy  # a plain picture has no layout at all


def test_pictures_of_any_shape_can_be_compared(known):
    assert nearest(next(iter(frames(1).values())), *known).to_training > 0


# how sure a mean is


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(2, 4), st.integers(0, 2**32 - 1), st.floats(-5, 5))
def test_an_interval_moves_with_its_values_and_holds_their_mean(prompts, seeds, seed, shift):
    values = np.random.default_rng(seed).normal(size=(prompts, seeds))
    interval, moved = mean_interval(values), mean_interval(values + shift)
    assert interval.low <= values.mean() + 1e-9
    assert interval.high >= values.mean() - 1e-9
    assert moved.low == pytest.approx(interval.low + shift)
    assert moved.high == pytest.approx(interval.high + shift)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    random, hits, naive = np.random.default_rng(1), 0, 0
    for _ in range(300):
        of_prompts, of_seeds = random.normal(0, 1, (30, 1)), random.normal(0, 1, (1, 12))
        values = 3 + of_prompts + of_seeds + random.normal(0, 0.5, (30, 12))
        interval = mean_interval(values, rounds=400)
        hits += interval.low <= 3 <= interval.high
        reach = 1.96 * values.std() / np.sqrt(values.size)
        naive += abs(values.mean() - 3) <= reach
    assert hits / 300 > 0.88
    assert naive / 300 < 0.5  # as if every picture were drawn for itself


def test_equal_values_have_no_interval():
    assert mean_interval(np.full((5, 3), 0.25)) is None
    assert mean_interval(np.array([[0.25]])) is None
