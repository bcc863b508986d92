"""What is left of characters in plates: planted misses are found, scenery is not, and neighbours' misses are healed."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint import INPAINTERS
from models.inpaint.provenance import FAR_AT_720P, NEAR_AT_720P, Origin, ShotPlates
from models.inpaint.residue import ResidueCheck
from models.registration.masks import dilate
from tests.models.sample_film import FILM, frames
from tests.models.true_masks import true_mask

PATCHMATCH = INPAINTERS.load("patchmatch")


def walking_disc(count=5, size=(144, 256)):
    """Return the frames, masks and scenery of a two-coloured figure that walks past a wall of warm colours."""
    rng = np.random.default_rng(4)
    wall = np.full((*size, 3), (150, 110, 60), np.uint8)
    for x, y, w, h in rng.integers((0, 0, 8, 8), (size[1], size[0], 40, 40), (80, 4)).tolist():
        cv2.rectangle(wall, (x, y), (x + w, y + h), rng.integers((120, 80, 30), (230, 160, 90)).tolist(), -1)
    pictures, masks = [], []
    for n in range(count):
        picture, mask = wall.copy(), np.zeros(size, np.uint8)
        for drawn, colour, radius in ((picture, (40, 60, 200), (16, 40)), (mask, 1, (16, 40))):
            cv2.ellipse(drawn, (40 + 44 * n, 84), radius, 0, 0, 360, colour, -1)
        for drawn, colour in ((picture, (40, 200, 210)), (mask, 1)):
            cv2.circle(drawn, (40 + 44 * n, 40), 12, colour, -1)
        pictures.append(picture)
        masks.append(mask > 0)
    return pictures, masks, wall


def without_a_side(mask):
    """Return `mask` without the left third of what it covers."""
    xs = np.nonzero(mask)[1]
    cut = mask.copy()
    cut[:, : int(xs.min() + 0.33 * np.ptp(xs))] = False
    return cut


def without_feet(mask):
    cut = mask.copy()
    cut[-36:] = False
    return cut


def test_a_clean_plate_shows_nobody():
    pictures, masks, wall = walking_disc()
    plate = ShotPlates(pictures, masks, PATCHMATCH).make(2)
    assert np.array_equal(plate.image, wall)
    assert plate.residue == 0


def test_feet_that_the_masks_missed_are_seen_in_the_plate():
    pictures, masks, _ = walking_disc()
    plate = ShotPlates(pictures, [without_feet(mask) for mask in masks], PATCHMATCH).make(2)
    assert plate.residue > 0.025


def test_a_head_that_one_mask_missed_is_not_taken_for_scenery():
    pictures, masks, wall = walking_disc()
    masks[3][:52] = False
    pictures[2:4] = pictures[3:1:-1]
    masks[2:4] = masks[3:1:-1]
    for index in (1, 3, 4):
        plate = ShotPlates(pictures, masks, PATCHMATCH).make(index)
        assert plate.residue == 0
        assert np.array_equal(plate.image, wall)


def residue_with(shot, number, masks):
    """Return what is found in a sample film's plate that is perfect inside the holes of `masks`."""
    film, holes = frames(shot), {one: dilate(mask) for one, mask in masks.items()}
    far = [~dilate(mask, FAR_AT_720P) for mask in masks.values()]
    check = ResidueCheck([film[one] for one in masks], list(masks.values()), far)
    plate = cv2.cvtColor(cv2.imread(str(FILM / "plates" / f"{number:06d}.png")), cv2.COLOR_BGR2RGB)
    shown = np.where(holes[number][..., None], plate, film[number])
    return check.find(shown, dilate(holes[number], NEAR_AT_720P)).sum() / holes[number].sum()


@pytest.mark.parametrize("shot", [1, 3, 6, 12])
def test_on_film_a_mask_without_a_side_is_told_from_a_whole_one(shot):
    masks = {number: true_mask(number) > 0 for number in frames(shot)}
    number = next(one for one in masks if (FILM / "plates" / f"{one:06d}.png").exists())
    assert residue_with(shot, number, masks) < 0.01
    assert residue_with(shot, number, {one: without_a_side(mask) for one, mask in masks.items()}) > 0.025


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.05, 0.6))
def test_only_colours_of_characters_alone_count_and_only_where_asked(seed, share):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture[10:30, 10:30] = (10, 200, 90)
    picture[:6] = (10, 200, 90) if seed % 2 else (90, 10, 200)
    mask, scenery = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    mask[10:30, 10:30], scenery[:6] = True, True
    within = rng.random((40, 60)) < share
    within[12:20, 12:20] = True
    found = ResidueCheck([picture], [mask], [scenery]).find(picture, within)
    assert not (found & ~within).any()
    assert found[13:19, 13:19].all() == (seed % 2 == 0)
    assert found.any() == (seed % 2 == 0)


def test_a_close_up_that_shows_no_scenery_is_not_judged():
    pictures, masks, wall = walking_disc(1)
    beside = dilate(masks[0], 40) & ~dilate(masks[0])
    judged = ResidueCheck(pictures, masks, [~dilate(masks[0])])
    assert judged.find(pictures[0], masks[0]).any()
    assert not judged.find(wall, beside).any()
    assert not ResidueCheck(pictures, masks, [np.zeros_like(masks[0])]).find(pictures[0], masks[0] | beside).any()


def test_a_shot_without_characters_has_no_residue():
    pictures, _, _ = walking_disc(2)
    nobody = [np.zeros(pictures[0].shape[:2], bool)] * 2
    plate = ShotPlates(pictures, nobody, PATCHMATCH).make(0)
    assert plate.residue == 0
    assert plate.share(Origin.OWN) == 1
    assert not dilate(nobody[0]).any()
