"""What a shot shows behind a character, once he has moved on, says what is he and what is not."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.segment import SEGMENTERS
from models.segment.colours import ColourModel, sharpen
from models.segment.ground import ground_evidence
from tests.models.sample_film import frames
from tests.models.true_masks import true_mask

SIZE = (144, 256)
STEP = 40  # pixels that somebody walks between two frames
STILL = (0, 0)


def scenery(seed=0):
    noise = np.random.default_rng(seed).integers(60, 200, (18, 32, 3)).astype(np.uint8)
    walls = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.GaussianBlur(walls, (0, 0), 0.8)


def body(frame):
    mask = np.zeros(SIZE, np.uint8)
    cv2.ellipse(mask, (30 + STEP * frame, 75), (12, 40), 0, 0, 360, 1, -1)
    return mask > 0


def walk(seed=0, pan=STILL, frames=6, colour=(230, 40, 40)):
    """Return pictures of somebody who walks past, and where he is, before a camera that pans by `pan` a frame."""
    pictures, bodies = [], []
    for frame in range(frames):
        shift = np.array([[1, 0, pan[0] * frame], [0, 1, pan[1] * frame]], np.float64)
        empty = cv2.warpAffine(scenery(seed), shift, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
        bodies.append(body(frame))
        pictures.append(np.where(bodies[-1][..., None], np.uint8(colour), empty))
    return pictures, bodies


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 99), pan=st.tuples(st.integers(-4, 4), st.integers(-2, 2)))
def test_who_walks_is_told_from_where_he_walks(seed, pan):
    pictures, bodies = walk(seed, pan)
    for said, inside in zip(ground_evidence(pictures, bodies), bodies, strict=True):
        beside = (cv2.dilate(inside.astype(np.uint8), np.ones((15, 15))) > 0) & ~(
            cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))) > 0
        )
        assert (said[inside] > 0).mean() > 0.9
        assert (said[beside] > 0).mean() < 0.05


def test_a_post_that_somebody_walks_past_is_not_he():
    pictures, bodies = walk()
    post = np.zeros(SIZE, bool)
    post[40:130, 104:110] = True
    found = [inside | (post if post[inside].any() else False) for inside in bodies]
    pictures = [
        np.where((post & ~inside)[..., None], np.uint8(40), each) for each, inside in zip(pictures, bodies, strict=True)
    ]
    said = list(ground_evidence(pictures, found))
    taken = [number for number, inside in enumerate(bodies) if post[inside].any()]
    assert taken
    for number in taken:
        assert (
            said[number][post & ~cv2.dilate(bodies[number].astype(np.uint8), np.ones((5, 5))).astype(bool)] < 0
        ).all()


def test_what_the_network_and_the_colours_miss_comes_back():
    pictures, bodies = walk()
    hair = [inside & (np.arange(SIZE[0]) < 48)[:, None] for inside in bodies]
    seen = [np.where(inside & ~lost, np.float32(0.95), 0) for inside, lost in zip(bodies, hair, strict=True)]
    colours = ColourModel.of_shot(pictures, seen)
    grounds = list(ground_evidence(pictures, [one > 0.5 for one in seen]))
    for picture, network, ground, lost in zip(pictures, seen, grounds, hair, strict=True):
        assert (sharpen(picture, network, colours, ground) > 0.5)[lost].mean() > 0.9


def test_of_a_shadow_nothing_is_said():
    pictures, bodies = walk()
    shadows = [np.roll(inside, 18, axis=1) & ~inside for inside in bodies]
    pictures = [
        np.where(shadow[..., None], (each * 0.6).astype(np.uint8), each)
        for each, shadow in zip(pictures, shadows, strict=True)
    ]
    for said, shadow in zip(ground_evidence(pictures, bodies), shadows, strict=True):
        assert (said[shadow] <= 0).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2])
def test_of_a_few_frames_nothing_is_said(count):
    pictures, bodies = walk(frames=count)
    assert not any(said.any() for said in ground_evidence(pictures, bodies))


def test_of_frames_of_different_places_nothing_is_said():
    pictures = [walk(seed)[0][0] for seed in range(6)]
    assert not any(said.any() for said in ground_evidence(pictures, [body(0)] * 6))


def test_who_stands_still_hides_what_is_behind_him():
    inside = body(2)
    picture = np.where(inside[..., None], np.uint8(90), scenery())
    for said in ground_evidence([picture] * 5, [inside] * 5):
        assert not said[inside].any()


def test_the_films_walker_has_a_sharper_mask_than_the_network_and_colours_give():
    numbers = list(frames(9))
    pictures = list(frames(9).values())
    masks = [true_mask(number) > 0 for number in numbers]
    found = {mask.index: mask.alpha >= 128 for mask in SEGMENTERS.load("selfie").segment_shot(pictures)}
    scores = [(found[n] & inside).sum() / (found[n] | inside).sum() for n, inside in enumerate(masks) if n in found]
    assert len(scores) == len(numbers)
    assert np.mean(scores) > 0.95
