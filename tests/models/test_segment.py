"""The lite segmenter on shots of the sample film, against its exact masks."""

import cv2
import numpy as np
import pytest

from models.segment import SEGMENTERS
from models.segment.instances import Instance, colour_bins
from models.segment.touching import split_touching
from models.segment.tracks import Tracker
from tests.models.sample_film import frames
from tests.models.true_masks import GIA, LUCA, true_mask


def iou(one, other):
    return (one & other).sum() / max(1, (one | other).sum())


@pytest.fixture(scope="module")
def segmenter():
    return SEGMENTERS.load("selfie")


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'sam9'.*selfie"):
        SEGMENTERS.load("sam9")


@pytest.mark.parametrize(("shot", "bound"), [(2, 0.96), (10, 0.90)], ids=["bust", "jumping before facades"])
def test_one_character_is_one_track_with_a_sharp_mask(segmenter, shot, bound):
    found = list(segmenter.segment_shot(list(frames(shot).values())))
    assert [mask.index for mask in found] == list(range(len(frames(shot))))
    assert {mask.track for mask in found} == {0}
    scores = [iou(m.alpha >= 128, true_mask(number) > 0) for m, number in zip(found, frames(shot), strict=True)]
    assert np.mean(scores) >= bound
    assert all(0.5 <= mask.score <= 1 for mask in found)


def test_two_characters_are_two_pure_tracks(segmenter):
    numbers = list(frames(4))
    found = list(segmenter.segment_shot(list(frames(4).values())))
    scores = {LUCA: [], GIA: []}
    owners = {}
    for mask in found:
        truth = true_mask(numbers[mask.index])
        value = max(scores, key=lambda v, m=mask, t=truth: iou(m.alpha >= 128, t == v))
        scores[value].append(iou(mask.alpha >= 128, truth == value))
        owners.setdefault(mask.track, set()).add(value)
    assert sorted(map(sorted, owners.values())) == [[LUCA], [GIA]]
    for values in scores.values():
        assert len(values) == len(numbers)
        assert np.mean(values) >= 0.92


@pytest.mark.parametrize("shot", [0, 5, 11])
def test_a_shot_without_characters_yields_nothing(segmenter, shot):
    assert list(segmenter.segment_shot(list(frames(shot).values()))) == []


def test_the_same_frames_give_the_same_bytes(segmenter):
    pictures = list(frames(3).values())[:4]
    first, second = (list(segmenter.segment_shot(pictures)) for _ in range(2))
    assert [m.alpha.tobytes() for m in first] == [m.alpha.tobytes() for m in second]


def test_characters_who_pass_each_other_stay_apart(segmenter):
    pictures, truths = [], []
    for (front, runner), (behind, walker) in zip(frames(12).items(), frames(3).items(), strict=True):
        inside = true_mask(front) > 0
        pictures.append(np.where(inside[..., None], runner, walker))
        truths.append(np.where(inside, LUCA, true_mask(behind)))
    found = list(segmenter.segment_shot(pictures))
    assert {mask.track for mask in found} == {0, 1}
    for track in (0, 1):
        masks = [mask for mask in found if mask.track == track]
        likeness = [[iou(m.alpha >= 128, truths[m.index] == value) for value in (LUCA, GIA)] for m in masks]
        assert len(masks) == len(pictures)
        assert len({int(np.argmax(pair)) for pair in likeness}) == 1
        assert min(max(pair) for pair in likeness) >= 0.6


def disc(x, colour, size=(90, 160)):
    picture = np.full((*size, 3), 200, np.uint8)
    cv2.circle(picture, (x, 45), 20, colour, -1)
    alpha = np.zeros(size, np.uint8)
    cv2.circle(alpha, (x, 45), 20, 255, -1)
    return Instance(alpha, 0.9, colour_bins(picture))


def test_a_character_lost_for_a_moment_keeps_its_track_and_a_passing_speck_gets_none():
    red = (220, 30, 30)
    window = [[disc(30, red)], [disc(40, red), disc(130, (30, 30, 220))], [], [disc(60, red)]]
    found = list(Tracker(len(window)).link(0, window))
    assert [(mask.index, mask.track) for mask in found] == [(0, 0), (1, 0), (3, 0)]


def test_a_blob_of_two_is_cut_by_the_colours_seen_before():
    red, blue = disc(50, (220, 30, 30)), disc(110, (30, 30, 220))
    left, right = disc(66, (220, 30, 30)), disc(94, (30, 30, 220))
    blob = Instance(np.maximum(left.alpha, right.alpha), 0.9, np.where(right.alpha > 0, right.colours, left.colours))
    cut = split_touching([[red, blue], [red, blue], [blob]])[2]
    assert len(cut) == 2
    assert iou(cut[0].mask, left.mask & ~right.mask) > 0.8
    assert iou(cut[1].mask, right.mask) > 0.8
