"""Characters are followed both ways, prompted again when lost, and numbered once: on true masks of the sample film."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.segment.boxes import box_iou
from models.segment.layering import mask_iou
from models.segment.prompts import KEY_EVERY, MIN_KEYS, key_frames, new_boxes, windows
from models.segment.propagation import PATIENCE, Propagation
from tests.models.true_masks import GIA, LUCA, SIZE, pair_masks, sighting


class TrueTracker:
    """An `ObjectTracker` that reads the true masks; each start can be made to lose its object at some frames."""

    def __init__(self, masks, lost=()):
        self.masks = masks  # [{value: mask}] by frame
        self.lost = list(lost)  # of each start in turn, the frames where it sees nothing
        self.looked = []

    def start(self, index, box):
        here = {value: sighting(mask) for value, mask in self.masks[index].items()}
        value = max(here, key=lambda v: box_iou([box], [here[v].box(SIZE)])[0, 0])
        followed = TrueObject(self, value, self.lost.pop(0) if self.lost else ())
        return followed, here[value]

    def boxes(self, index):
        return [sighting(mask).box(SIZE) for mask in self.masks[index].values()]


class TrueObject:
    def __init__(self, tracker, value, lost):
        self.tracker, self.value, self.lost = tracker, value, lost

    def look(self, index, *, reverse):
        self.tracker.looked.append((index, reverse))
        mask = self.tracker.masks[index].get(self.value)
        return sighting(np.zeros(SIZE, bool) if mask is None or index in self.lost else mask)


@pytest.fixture(scope="module")
def pair():
    return pair_masks()


def run(tracker, find=None, longest=64):
    found = Propagation(tracker, find or tracker.boxes, len(tracker.masks), SIZE).run(longest)
    return [dict(seen) for _, seen in found]


def coverage(found, masks):
    """Return for each track the character it is, by its masks, and the frames where it is seen."""
    tracks = {}
    for index, seen in enumerate(found):
        for track, one in seen.items():
            who = max(masks[index], key=lambda v: mask_iou(one, sighting(masks[index][v])))
            tracks.setdefault(track, (set(), []))[0].add(who)
            tracks[track][1].append(index)
    return {track: (sorted(who), where) for track, (who, where) in tracks.items()}


@given(st.integers(0, 500))
def test_key_frames_are_spread_over_the_shot(count):
    keys = key_frames(count)
    assert keys == sorted(set(keys))
    assert all(0 <= key < count for key in keys)
    assert len(keys) >= min(count, MIN_KEYS)
    assert all(later - sooner <= KEY_EVERY + 1 for sooner, later in pairwise(keys))
    if keys:
        assert max(keys[0], count - 1 - keys[-1]) <= KEY_EVERY // 2


@given(st.integers(1, 500), st.integers(1, 100))
def test_windows_cover_the_shot_once_and_end_with_key_frames(count, longest):
    keys = key_frames(count)
    found = list(windows(count, keys, longest))
    assert [index for window in found for index in window] == list(range(count))
    assert all(window[-1] in keys for window in found[:-1])
    assert all(len(window) <= max(longest, 2 * KEY_EVERY) for window in found)


def test_a_box_is_new_unless_a_followed_track_explains_it():
    one, other = (10, 10, 60, 110), (200, 10, 250, 110)
    assert new_boxes([one, other], []) == [0, 1]
    assert new_boxes([one, other], [(12, 12, 60, 110)]) == [1]
    assert new_boxes([], [one]) == []
    assert new_boxes([one, (11, 10, 61, 110)], [one]) == []
    behind = (35, 10, 85, 110)
    assert box_iou([one], [behind])[0, 0] >= 0.3
    assert new_boxes([behind, one], [one]) == [0]


def test_a_character_seen_in_one_key_frame_is_followed_in_both_directions(pair):
    tracker = TrueTracker(pair)
    keys = key_frames(len(pair))
    found = run(tracker, lambda index: tracker.boxes(index)[:1] if index == keys[1] else [])
    assert coverage(found, pair) == {0: ([LUCA], list(range(len(pair))))}
    assert (0, True) in tracker.looked
    assert (len(pair) - 1, False) in tracker.looked


def test_several_characters_are_several_tracks_and_found_again_are_no_new_ones(pair):
    found = run(TrueTracker(pair))
    everywhere = list(range(len(pair)))
    assert coverage(found, pair) == {0: ([LUCA], everywhere), 1: ([GIA], everywhere)}


def test_who_enters_late_is_followed_back_to_where_he_entered(pair):
    entered = 5
    late = [masks if index >= entered else {LUCA: masks[LUCA]} for index, masks in enumerate(pair)]
    found = run(TrueTracker(late))
    assert coverage(found, late) == {
        0: ([LUCA], list(range(len(pair)))),
        1: ([GIA], list(range(entered, len(pair)))),
    }


def test_who_was_lost_is_prompted_again_under_the_same_track(pair):
    masks = (pair * 3)[:40]
    keys = key_frames(len(masks))
    never_again = range(keys[1] + 2, len(masks))
    tracker = TrueTracker([{LUCA: m[LUCA]} for m in masks], lost=[never_again])
    found = run(tracker)
    assert tracker.lost == []
    assert coverage(found, masks) == {0: ([LUCA], list(range(len(masks))))}


def test_who_comes_back_after_a_long_absence_gets_a_track_of_his_own(pair):
    masks = [{LUCA: m[LUCA]} for m in (pair * 4)[:48]]
    gone = range(12, 12 + PATIENCE + 12)
    for index in gone:
        masks[index] = {}
    found = run(TrueTracker(masks, lost=[range(12, 48)]))
    assert coverage(found, masks) == {0: ([LUCA], list(range(12))), 1: ([LUCA], list(range(gone[-1] + 1, 48)))}


@pytest.mark.parametrize("longest", [10, 20])
def test_windows_give_the_tracks_of_the_whole_shot(pair, longest):
    masks = (pair * 4)[:50]
    whole, cut = run(TrueTracker(masks)), run(TrueTracker(masks), longest=longest)
    assert [sorted(seen) for seen in cut] == [sorted(seen) for seen in whole]
    assert coverage(cut, masks) == coverage(whole, masks)


def test_boxes_around_nothing_or_around_the_same_twice_start_nothing(pair):
    tracker = TrueTracker(pair)
    twice = run(tracker, lambda index: [(x0 - 40, y0, x1 + 40, y1) for x0, y0, x1, y1 in tracker.boxes(index)] * 2)
    assert sorted(coverage(twice, pair)) == [0, 1]
    assert run(TrueTracker(pair), lambda index: []) == [{}] * len(pair)


def test_what_is_seen_in_one_frame_only_is_no_track(pair):
    masks = [{LUCA: m[LUCA]} if index == key_frames(len(pair))[0] else {} for index, m in enumerate(pair)]
    assert run(TrueTracker(masks)) == [{}] * len(pair)
    assert [sorted(seen) for seen in run(TrueTracker([pair[0]]))] == [[0, 1]]
