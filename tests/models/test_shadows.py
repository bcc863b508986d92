"""Shadows of characters are a part of what a plate leaves out, where the film shows their ground in the light."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint import INPAINTERS
from models.inpaint.elsewhere import View
from models.inpaint.provenance import Origin, ShotPlates
from models.inpaint.shadows import find_shadow
from models.pictures import read_rgb
from models.registration.masks import dilate
from tests.models.sample_film import FILM, frames
from tests.models.true_masks import true_mask

PATCHMATCH = INPAINTERS.load("patchmatch")
HOLE, SHADOW = (slice(60, 180), slice(120, 160)), (slice(168, 200), slice(140, 260))
CAST = 14  # grey levels by which a shadow darkens the true plate


def ground(seed=0):
    noise = np.random.default_rng(seed).integers(90, 220, (9, 13, 3)).astype(np.uint8)
    return cv2.resize(noise, (416, 288), interpolation=cv2.INTER_CUBIC)


def area(*parts):
    mask = np.zeros((288, 416), bool)
    for part in parts:
        mask[part] = True
    return mask


def darkened(picture, mask, light):
    return np.where(mask[..., None], (picture * np.asarray(light)).astype(np.uint8), picture)


@settings(max_examples=20, deadline=None)
@given(light=st.floats(0.4, 0.82), bluer=st.floats(0, 0.1), seed=st.integers(0, 99))
def test_what_is_darker_in_all_channels_and_touches_the_hole_is_a_shadow(light, bluer, seed):
    empty, hole, cast = ground(seed), area(HOLE), area(SHADOW)
    picture = darkened(empty, cast, [light, light, light + bluer])
    found = find_shadow(picture, hole, empty, np.ones_like(hole))
    assert found[cast & ~hole].all()
    assert not (found & ~dilate(cast, 30)).any()
    assert not (found & hole).any()


@pytest.mark.parametrize(
    ("where", "light"),
    [
        pytest.param((slice(220, 260), slice(240, 360)), 0.6, id="away from the hole"),
        pytest.param(SHADOW, (0.9, 0.5, 0.4), id="another colour"),
        pytest.param(SHADOW, 0.1, id="darker than any shadow"),
        pytest.param(SHADOW, 0.97, id="hardly darker"),
        pytest.param(SHADOW, 1.2, id="brighter"),
        pytest.param((slice(180, 182), slice(140, 260)), 0.5, id="an edge"),
    ],
)
def test_other_differences_are_no_shadow(where, light):
    empty, hole = ground(), area(HOLE)
    picture = darkened(np.minimum(empty, 200), area(where), light)
    assert not find_shadow(picture, hole, np.minimum(empty, 200), np.ones_like(hole)).any()


def test_where_the_ground_is_not_known_nothing_is_said():
    empty, hole = ground(), area(HOLE)
    picture = darkened(empty, area(SHADOW), 0.6)
    assert not find_shadow(picture, hole, empty, np.zeros_like(hole)).any()


def test_a_still_camera_gives_the_very_ground_behind_a_shadow_that_moves_on():
    empty = ground()
    masks = [area((slice(60, 180), slice(20 + 90 * n, 48 + 90 * n))) for n in range(4)]
    shadows = [area((slice(168, 200), slice(36 + 90 * n, 100 + 90 * n))) for n in range(4)]
    lit = [darkened(empty, shadow, 0.6) for shadow in shadows]
    pictures = [np.where(mask[..., None], np.uint8(250), picture) for mask, picture in zip(masks, lit, strict=True)]
    plate = ShotPlates(pictures, masks, PATCHMATCH).make(1)
    assert np.array_equal(plate.image, empty)
    assert (plate.provenance[shadows[1] & ~masks[1]] == Origin.NEIGHBOUR).all()


def darker_than(truth, picture):
    return cv2.GaussianBlur(truth.astype(np.float32) - picture, (0, 0), 1.5).min(axis=-1) > CAST


def cast_by(mask, truth, picture):
    darker = darker_than(truth, picture).astype(np.uint8)
    return ~dilate(mask) & (cv2.morphologyEx(darker, cv2.MORPH_OPEN, np.ones((5, 5))) > 0)


@pytest.mark.parametrize(
    ("shot", "bound"),
    [
        pytest.param(1, 0.25, id="six frames, in one of which the others' shadows lie over his own"),
        pytest.param(3, 0.05, id="still camera"),
        pytest.param(7, 0.05, id="moving camera"),
    ],
)
def test_walkers_and_runners_take_their_shadows_along(shot, bound):
    pictures, masks = list(frames(shot).values()), [true_mask(number) > 0 for number in frames(shot)]
    plates = ShotPlates(pictures, masks, PATCHMATCH)
    cast_pixels, left = 0, 0
    for index, number in enumerate(frames(shot)):
        path = FILM / "plates" / f"{number:06d}.png"
        if not path.exists():
            continue
        truth = read_rgb(path)
        cast = cast_by(masks[index], truth, pictures[index])
        still = darker_than(truth, plates.make(index).image)
        cast_pixels, left = cast_pixels + int(cast.sum()), left + int((cast & still).sum())
    assert cast_pixels > 3000
    assert left < bound * cast_pixels


def test_who_stands_still_takes_a_shadow_along_whose_ground_other_shots_show():
    views = [
        View(picture, dilate(true_mask(number) > 0))
        for shot in (6, 7, 11)  # the same kitchen: empty, and with others, whose own shadows are in the way
        for number, picture in frames(shot).items()
    ]
    (number, picture), *_ = frames(8).items()
    mask = true_mask(number) > 0
    truth = read_rgb(FILM / "plates" / f"{number:06d}.png")
    plates = ShotPlates([picture], [mask], PATCHMATCH)
    cast = cast_by(mask, truth, picture)
    alone, beside = (darker_than(truth, plates.make(0, others).image)[cast].mean() for others in ((), views))
    assert cast.sum() > 1000
    assert alone > 0.95
    assert beside < 0.5
