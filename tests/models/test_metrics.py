import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.faults import InputFault
from models.metrics.boundaries import boundary_scores
from models.metrics.classes import class_scores
from models.metrics.clustering import adjusted_rand, completeness, purity
from models.metrics.figure import figure, mean, present
from models.metrics.keypoints import correct_keypoints
from models.metrics.overlap import frame_overlap, intersection_over_union, most_overlapped
from models.metrics.psnr import CAP_DB, psnr_db, squared_errors
from models.metrics.truth import Truth

HARBOUR = Path(__file__).parents[2] / "samples" / "harbour"
ITEMS = st.lists(st.tuples(st.sampled_from(["luca", "gia", "nino"]), st.integers(-1, 4)), min_size=1, max_size=30)
PICTURES = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8))


@given(ITEMS, st.permutations(range(5)))
def test_renaming_clusters_changes_nothing(items, renamed):
    classes, clusters = [name for name, _ in items], [cluster for _, cluster in items]
    others = [cluster if cluster == -1 else renamed[cluster] for cluster in clusters]
    for score in (purity, completeness, adjusted_rand):
        assert score(classes, clusters) == pytest.approx(score(classes, others))


@given(ITEMS, st.randoms())
def test_order_of_items_changes_nothing(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    for score in (purity, completeness, adjusted_rand):
        assert score(*zip(*items, strict=True)) == pytest.approx(score(*zip(*shuffled, strict=True)))


@given(ITEMS)
def test_clusters_that_are_the_classes_score_one(items):
    classes = [name for name, _ in items]
    clusters = [sorted(set(classes)).index(name) for name in classes]
    assert purity(classes, clusters) == completeness(classes, clusters) == 1
    assert adjusted_rand(classes, clusters) == pytest.approx(1)


@given(ITEMS)
def test_clustering_scores_are_shares(items):
    classes, clusters = zip(*items, strict=True)
    assert 0 < purity(classes, clusters) <= 1
    assert 0 < completeness(classes, clusters) <= 1
    assert -0.5 <= adjusted_rand(classes, clusters) <= 1


def test_clustering_by_hand():
    classes, clusters = ["a", "a", "a", "b", "b", "b"], [0, 0, 1, 1, 1, 1]
    assert purity(classes, clusters) == 5 / 6
    assert completeness(classes, clusters) == 5 / 6
    assert adjusted_rand(classes, clusters) == pytest.approx((4 - 6 * 7 / 15) / ((6 + 7) / 2 - 6 * 7 / 15))


def test_noise_is_no_cluster():
    assert purity(["a", "b"], [-1, -1]) == 1
    assert completeness(["a", "a"], [-1, -1]) == 0.5


def test_nothing_is_neither_right_nor_wrong():
    assert purity([], []) is completeness([], []) is adjusted_rand([], []) is None
    assert mean([]) is None
    assert psnr_db(0.0, 0) is None
    assert boundary_scores([], []) == (None, None, None)
    assert intersection_over_union(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) is None
    assert present(absent=figure(None, 0, "share"), there=figure(0.0, 3, "share")).keys() == {"there"}


def test_boundaries_match_once():
    assert boundary_scores([24, 60, 60, 90], {24, 60, 84}) == (2 / 4, 2 / 3, 4 / 7)
    assert boundary_scores([], {24}) == (None, 0, 0)


def test_classes_by_hand():
    scores = class_scores(["run", "run", "", "walk"], ["run", "", "run", "run"])
    assert scores == {"run": (1 / 3, 3, 1 / 2, 2), "walk": (None, 0, 0, 1)}


def test_layer_is_of_the_character_that_it_overlaps_most():
    truth = {"luca": _box(0, 6), "gia": _box(6, 12)}
    assert most_overlapped(_box(4, 9), truth) == "gia"
    assert most_overlapped(_box(3, 9), truth) == "gia"  # of equals, the first by name
    assert most_overlapped(_box(12, 16), truth) == ""


def test_frame_overlap_by_hand():
    truth = {"luca": _box(0, 6), "gia": _box(6, 12)}
    overlap = frame_overlap({"a": _box(0, 3), "b": _box(3, 8), "c": _box(13, 16)}, truth)
    assert overlap.shown == {"a": "luca", "b": "luca", "c": ""}
    assert overlap.alone == {"luca": 6 / 8, "gia": 0}
    assert overlap.together == 8 / 15
    assert frame_overlap({}, {}) == ({}, None, {}, False)
    assert frame_overlap({"a": _box(0, 3)}, {}).together == 0
    assert frame_overlap({}, truth).together == 0
    assert not frame_overlap({"a": _box(0, 0)}, {}).has_layer


@given(PICTURES, PICTURES, st.integers(0, 2**32 - 1))
def test_pooled_psnr_is_that_of_all_pixels(first, second, seed):
    kinds = np.random.default_rng(seed).integers(0, 3, first.shape[:2]).astype(np.uint8)
    errors, pixels = squared_errors(first, second, np.ones(kinds.shape, bool), kinds, 3)
    squared = np.square(first.astype(float) - second).mean()
    expected = 10 * math.log10(255**2 / squared) if squared else CAP_DB
    assert psnr_db(errors.sum(), int(pixels.sum())) == pytest.approx(expected)
    assert pixels.tolist() == [np.count_nonzero(kinds == kind) for kind in range(3)]


@given(PICTURES, PICTURES)
def test_squared_errors_are_symmetric_and_ignore_the_outside(first, second):
    kinds, inside = np.zeros((6, 8), np.uint8), np.zeros((6, 8), bool)
    inside[2:4, 3:5] = True
    errors, _ = squared_errors(first, second, inside, kinds, 1)
    assert errors == squared_errors(second, first, inside, kinds, 1)[0]
    elsewhere = np.where(inside[..., None], first, 255 - first)
    assert errors == squared_errors(elsewhere, second, inside, kinds, 1)[0]


@given(PICTURES)
def test_equal_pictures_score_the_cap(picture):
    errors, pixels = squared_errors(picture, picture, np.ones((6, 8), bool), np.zeros((6, 8), np.uint8), 1)
    assert psnr_db(errors.sum(), int(pixels.sum())) == CAP_DB


def test_unknown_kind_of_pixel_is_named():
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="kind 7 is none of 0 to 2"):
        squared_errors(picture, picture, np.ones((2, 2), bool), np.full((2, 2), 7, np.uint8), 3)


@given(st.floats(-1000, 1000), st.floats(0.1, 10))
def test_correct_keypoints_move_and_scale_with_the_body(offset, scale):
    truth = np.stack([np.zeros(17), np.linspace(0, 160, 17)], axis=1)
    predicted = truth.copy()
    predicted[:9, 0] += 15.5
    predicted[9:, 1] += 16.5
    assert correct_keypoints(predicted * scale + offset, truth * scale + offset, 0.1) == 9


def test_truth_of_the_sample_film():
    truth = Truth(HARBOUR)
    assert (len(truth.pictures), truth.size) == (336, (512, 288))
    assert sorted(truth.boundaries) == [24, 60, 84, 114, 144, 162, 186, 216, 234, 264, 288, 306]
    assert truth.masks(truth.pictures[114]).keys() == {"luca", "gia"}
    assert truth.plate(truth.pictures[115]) is None


def test_truth_faults_name_the_place(tmp_path):
    with pytest.raises(InputFault, match=r"no truth\.jsonl"):
        Truth(tmp_path)
    (tmp_path / "truth.jsonl").write_text("")
    with pytest.raises(InputFault, match="is empty"):
        Truth(tmp_path)
    (tmp_path / "truth.jsonl").write_text('{"frame": 1, "shot": 0, "place": "beach", "characters": []}\n')
    with pytest.raises(InputFault, match="line 1 is of picture 1, not 0"):
        Truth(tmp_path)
    (tmp_path / "truth.jsonl").write_text('{"frame": 0, "shot": 0}\n')
    with pytest.raises(InputFault, match="line 1 is no picture's truth"):
        Truth(tmp_path)
    (tmp_path / "truth.jsonl").write_text('{"frame": 0, "shot": 0, "place": "beach", "characters": []}\n')
    with pytest.raises(InputFault, match="no mask for picture 0"):
        Truth(tmp_path).size  # noqa: B018


def _box(left, right):
    mask = np.zeros((1, 16), bool)
    mask[:, left:right] = True
    return mask
