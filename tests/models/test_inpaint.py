"""Plates: own pixels untouched, true pixels from other frames first, guesses only where nobody looked."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint import INPAINTERS
from models.inpaint.neighbours import Neighbours
from models.inpaint.provenance import Origin, ShotPlates
from models.registration.masks import dilate
from tests.models.sample_film import FILM, frames
from tests.models.true_masks import true_mask

PATCHMATCH = INPAINTERS.load("patchmatch")


def psnr(one, other, where):
    error = (one[where].astype(float) - other[where]) ** 2
    return 10 * np.log10(255**2 / max(error.mean(), 1e-9))


def scenery(width=420, height=150, seed=3):
    rng = np.random.default_rng(seed)
    wall = cv2.resize(rng.integers(60, 200, (12, 34, 3)).astype(np.uint8), (width, height))
    for x, y, w, h in rng.integers((0, 0, 8, 8), (width, height, 40, 40), (60, 4)):
        cv2.rectangle(wall, (int(x), int(y)), (int(x + w), int(y + h)), rng.integers(0, 255, 3).tolist(), -1)
    return wall


def panning_shot(step=12, count=6, size=(150, 220)):
    """Return frames, masks and the empty frames of a camera that pans past a disc that stays in mid-picture."""
    wall = scenery()
    empty = [np.ascontiguousarray(wall[:, n * step : n * step + size[1]]) for n in range(count)]
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (110, 75), 16, 1, -1)
    pictures = [np.where(mask[..., None] > 0, np.uint8(250), picture) for picture in empty]
    return pictures, [mask > 0] * count, empty


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'telea'.*patchmatch"):
        INPAINTERS.load("telea")


@pytest.mark.parametrize("index", [0, 3])
def test_a_panning_camera_shows_what_the_hole_hides(index):
    pictures, masks, empty = panning_shot()
    holes = [dilate(mask) for mask in masks]
    found = Neighbours(pictures, holes).fill(index)
    assert found.known[holes[index]].mean() > 0.95
    assert psnr(found.image, empty[index], found.known) > 30
    assert np.array_equal(found.image[~found.known], pictures[index][~found.known])


def test_what_lies_behind_the_hole_is_followed_not_what_most_matches_are_on():
    """Before a camera that pans, the ground shifts by 11 pixels a frame and the wall behind by 8."""
    wall, ground = cv2.GaussianBlur(scenery(height=90, seed=6), (0, 0), 0.7), scenery(height=60, seed=5)
    empty = [np.vstack([wall[:, 8 * n : 8 * n + 220], ground[:, 11 * n : 11 * n + 220]]) for n in range(6)]
    mask = np.zeros((150, 220), bool)
    mask[8:48, 100:125] = True
    pictures = [np.where(mask[..., None], np.uint8(250), picture) for picture in empty]
    hole = dilate(mask)
    found = Neighbours(pictures, [hole] * 6).fill(2)
    shown = found.known | found.unsure
    assert shown[hole].mean() > 0.9
    assert found.known[hole].mean() > 0.5  # the others are shown by one frame alone
    assert psnr(found.image, empty[2], shown) > 42


def test_a_camera_that_stands_still_gives_the_very_pixels():
    wall = scenery(220)
    masks = [np.zeros((150, 220), bool) for _ in range(4)]
    for n, mask in enumerate(masks):
        mask[40:110, 20 + 50 * n : 50 + 50 * n] = True
    pictures = [np.where(mask[..., None], np.uint8(250), wall) for mask in masks]
    plate = ShotPlates(pictures, masks, PATCHMATCH).make(1)
    assert np.array_equal(plate.image, wall)
    assert plate.share(Origin.NETWORK) == 0


def test_where_neighbours_disagree_the_nearest_in_time_is_taken_and_doubted_pixels_last():
    wall = scenery(220)
    hole, nothing = np.zeros((150, 220), bool), np.zeros((150, 220), bool)
    hole[60:90, 80:110] = True
    pictures = [wall.copy() for _ in range(3)]
    pictures[0][hole], pictures[2][hole] = 10, 240
    holes = [nothing, nothing, nothing, hole]
    pictures.append(np.where(hole[..., None], np.uint8(120), wall))
    found = Neighbours(pictures, holes).fill(3)
    assert found.unsure[hole].all()
    assert (found.image[hole] == 240).all()
    doubted = Neighbours(pictures[:3:2] + pictures[3:], holes[1:], [nothing, hole, nothing]).fill(2)
    assert doubted.known[hole].all()
    assert (doubted.image[hole] == 10).all()
    alone = Neighbours(pictures[2:], holes[2:], [hole, nothing]).fill(1)
    assert (alone.image[hole] == 240).all()


def test_frames_of_another_scene_are_not_used():
    pictures, masks, _ = panning_shot()
    strangers = [np.ascontiguousarray(scenery(220, seed=n)) for n in (11, 12, 13)]
    found = Neighbours([pictures[0], *strangers], masks[:4]).fill(0)
    assert not found.known.any()


@settings(max_examples=8, deadline=None)
@given(x=st.integers(0, 75), y=st.integers(0, 45), w=st.integers(2, 20), h=st.integers(2, 20), seed=st.integers(0, 99))
def test_own_pixels_are_never_touched(x, y, w, h, seed):
    picture = scenery(96, 64, seed)
    mask = np.zeros((64, 96), bool)
    mask[y : y + h, x : x + w] = True
    plate = ShotPlates([picture], [mask], PATCHMATCH).make(0)
    assert np.array_equal(plate.provenance == Origin.NETWORK, dilate(mask))
    own = plate.provenance == Origin.OWN
    assert np.array_equal(plate.image[own], picture[own])


def test_patchmatch_continues_a_pattern_and_repeats_itself():
    stripes = np.repeat(np.where(np.arange(120) // 10 % 2, 220, 40).astype(np.uint8)[None, :, None], 90, axis=0)
    stripes = np.repeat(stripes, 3, axis=2)
    hole = np.zeros((90, 120), bool)
    hole[30:60, 40:80] = True
    damaged = np.where(hole[..., None], np.uint8(255), stripes)
    filled = PATCHMATCH.fill(damaged, hole)
    assert psnr(filled, stripes, hole) > 25
    assert np.array_equal(filled, PATCHMATCH.fill(damaged, hole))


def test_a_hole_without_surroundings_is_refused():
    with pytest.raises(ValueError, match="cannot be filled"):
        PATCHMATCH.fill(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), bool))


@pytest.mark.parametrize(("shot", "bound"), [(3, 36.0), (7, 34.0)], ids=["still camera", "moving camera"])
def test_a_walker_uncovers_the_true_background(shot, bound):
    masks = [true_mask(number) > 0 for number in frames(shot)]
    plates = ShotPlates(list(frames(shot).values()), masks, PATCHMATCH)
    scores = []
    for index, number in enumerate(frames(shot)):
        path = FILM / "plates" / f"{number:06d}.png"
        if path.exists():
            plate = plates.make(index)
            truth = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            scores.append(psnr(plate.image, truth, masks[index]))
            own = plate.provenance == Origin.OWN
            assert np.array_equal(plate.image[own], list(frames(shot).values())[index][own])
    assert len(scores) >= 4
    assert np.mean(scores) >= bound


def test_what_frames_disagree_on_is_shown_but_is_no_true_pixel():
    wall = scenery(220)
    mask = np.zeros((150, 220), bool)
    mask[60:90, 80:110] = True
    lamp = np.zeros_like(mask)
    lamp[70:80, 85:95] = True
    pictures = [wall.copy(), np.where(lamp[..., None], np.uint8(250), wall), np.where(mask[..., None], 120, wall)]
    pictures[2] = pictures[2].astype(np.uint8)
    holes = [np.zeros_like(mask), np.zeros_like(mask), mask]
    found = Neighbours(pictures, holes).fill(2)
    assert found.unsure[lamp].all()
    assert found.known[mask & ~dilate(lamp)].all()
    assert np.array_equal(found.image[found.known], wall[found.known])
    plate = ShotPlates(pictures, [*holes[:2], mask], PATCHMATCH).make(2)
    assert (plate.provenance[lamp] == Origin.UNSURE).all()
    assert plate.share(Origin.NETWORK) == 0
