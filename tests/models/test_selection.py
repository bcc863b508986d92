"""Choosing training pictures: near-duplicates, balance, coverage, and what a set lacks."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_contracts.records import Facets
from models.selection.choose import Candidates, choose
from models.selection.coverage import Shown, coverage, read_coverage, write_coverage
from models.selection.near_duplicates import near_duplicates
from models.shots.quality import hash_distance

HASHES = st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format), max_size=30)
QUALITIES = st.lists(st.floats(0, 1), min_size=30, max_size=30)
EQUAL = ["0000000000000001", "000000000001dcf9", "0000000000000000"]


@example(EQUAL, 11, [0.0, 1.0, 0.0] * 10)  # the last differs from the second, and by a bit from the first, as good
@given(HASHES, st.integers(-1, 20), QUALITIES)
def test_what_is_kept_differs_and_what_is_dropped_has_a_better_twin(hashes, most_bits, quality):
    repeated = near_duplicates(hashes, quality, most_bits)
    kept = [n for n in range(len(hashes)) if n not in repeated]
    for n in kept:
        assert all(hash_distance(hashes[n], hashes[other]) > most_bits for other in kept if other != n)
    for n, bits in repeated.items():
        first = [other for other in kept if (-quality[other], other) < (-quality[n], n)]
        better = [hash_distance(hashes[n], hashes[other]) for other in first]
        assert min(better) == bits <= most_bits


def test_the_sharper_of_two_equal_pictures_is_kept():
    assert near_duplicates(["00" * 8, "00" * 7 + "01", "ff" * 8], [0.1, 0.9, 0.5], most_bits=1) == {0: 1}


def candidates(sizes: list[str], quality: list[float], embeddings: list[list[float]] | None = None) -> Candidates:
    rows = None if embeddings is None else np.array(embeddings, np.float32)
    return Candidates({"size": sizes}, np.array(quality), rows)


def test_shares_are_met_although_one_size_abounds():
    sizes = ["close-up"] * 80 + ["medium"] * 20 + ["full"] * 20
    chosen = choose(candidates(sizes, [0.5] * 120), 40, {"size": {"close-up": 0.5, "medium": 0.25, "full": 0.25}})
    counts = {size: sum(sizes[n] == size for n in chosen) for size in set(sizes)}
    assert counts == {"close-up": 20, "medium": 10, "full": 10}


def test_a_rare_value_is_taken_whole():
    sizes = ["full"] * 50 + ["close-up"] * 3
    chosen = choose(candidates(sizes, [0.9] * 50 + [0.1] * 3), 20, {})
    assert {50, 51, 52} <= set(chosen)


def test_among_equals_the_best_are_taken():
    quality = [n / 100 for n in range(100)]
    assert sorted(choose(candidates(["full"] * 100, quality), 10, {})) == list(range(90, 100))


def test_embeddings_spread_the_choice_over_what_looks_different():
    groups = [[1.0, 0, 0]] * 30 + [[0, 1.0, 0]] * 3 + [[0, 0, 1.0]] * 3
    chosen = choose(candidates(["full"] * 36, [0.5] * 36, groups), 3, {})
    assert {n // 30 if n < 30 else 1 + (n - 30) // 3 for n in chosen} == {0, 1, 2}


@given(st.lists(st.sampled_from(["close-up", "medium", "full", "unknown", ""]), max_size=25), st.integers(1, 30))
def test_a_choice_holds_no_picture_twice_and_is_as_large_as_it_can_be(sizes, target):
    chosen = choose(candidates(sizes, [0.5] * len(sizes)), target, {"size": {"full": 1.0}})
    assert len(chosen) == len(set(chosen)) == min(target, len(sizes))
    assert chosen == choose(candidates(sizes, [0.5] * len(sizes)), target, {"size": {"full": 1.0}})


def shown(size: str = "full", view: str = "front", place: str = "beach", **facets: str) -> Shown:
    return Shown(Facets(size=size, view=view, place=place, **facets), "film", "film:s0001")


EVERYTHING = [
    shown(size, view, place, expression=expression, action=action)
    for size in ("close-up", "medium", "full")
    for view in ("front", "three-quarter", "profile", "back")
    for place in ("beach", "kitchen")
    for expression, action in (("happy", "running"), ("sad", "standing"))
] * 4


def test_a_set_that_shows_everything_has_no_findings():
    assert len(EVERYTHING) >= 150
    assert coverage("character", EVERYTHING).findings == ()


@pytest.mark.parametrize(
    ("pictures", "rule", "words"),
    [
        ([each for each in EVERYTHING if each.facets.view != "back"], "no_back_view", "no back view"),
        ([*EVERYTHING, *[shown("close-up")] * 300], "mostly_close_ups", "cannot teach the outfit"),
        ([each for each in EVERYTHING if each.facets.size != "full"], "no_full", "outfit below the waist"),
        ([each for each in EVERYTHING if each.facets.place == "beach"], "one_place", "100% show the same place: beach"),
        (EVERYTHING[:20], "few_pictures", "20 pictures"),
    ],
)
def test_what_is_missing_is_said_with_a_remedy(pictures, rule, words):
    found = {finding.rule: finding for finding in coverage("character", pictures).findings}
    assert words in found[rule].text
    assert found[rule].remedy


def test_a_pose_of_one_character_is_said_to_become_that_character():
    alone = [shown(who="luca", view=view) for view in ("front", "back")] * 60
    assert "one_who" in {finding.rule for finding in coverage("pose", alone).findings}


def test_coverage_is_read_back_as_written(tmp_path):
    found = coverage("expression", EVERYTHING)
    write_coverage(tmp_path, found)
    assert read_coverage(tmp_path / "coverage.json") == found
    assert found.counts["size"] == {"close-up": 64, "medium": 64, "full": 64}
