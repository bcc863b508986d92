"""What lies at several depths behind a character, seen by a camera that moves."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint.neighbours import Neighbours
from models.inpaint.parallax import Parallax, Sightings, find_parallax, follow, shown_at, sweep
from models.metrics.psnr import psnr_db, squared_errors
from models.registration.masks import dilate
from tests.models.sample_film import FILM, frames
from tests.models.true_masks import true_mask

SIZE = 220.0


def layered(step, depth=2.5, size=(150, 220)):
    """Return a wall and, before it, a striped post that moves by `depth` pixels a step of the camera."""
    rng = np.random.default_rng(3)
    wall = cv2.resize(rng.integers(60, 200, (30, 44, 3)).astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    post = cv2.resize(rng.integers(0, 90, (30, 5, 3)).astype(np.uint8), (20, 150), interpolation=cv2.INTER_CUBIC)
    x = 100 + depth * step
    shift = np.array([[1, 0, x], [0, 1, 0]], np.float32)
    moved = cv2.warpAffine(post, shift, size[::-1], flags=cv2.INTER_LINEAR)
    share = cv2.warpAffine(np.ones((150, 20), np.float32), shift, size[::-1])[..., None]
    return (wall * (1 - share) + moved * share).round().astype(np.uint8)


def sightings(seed, count=5, points=200, wrong=0.06):
    rng = np.random.default_rng(seed)
    at, depth = rng.uniform(0, 1, (points, 2)), rng.choice([-0.6, 0.0, 1.0], points)
    ends = np.empty((count, points, 2))
    for n in range(count):
        camera = np.eye(3, 4)
        camera[:2] += rng.normal(0, 0.004, (2, 4))
        camera[:2, 3] += (n - 2) * np.array([0.012, 0.004])
        moved = np.column_stack([at, np.ones(points), depth]) @ camera.T
        ends[n] = moved[:, :2] / moved[:, 2:]
    ends[rng.random((count, points)) < wrong] += rng.uniform(0.05, 0.1, 2)
    return Sightings(at * SIZE, ends * SIZE, np.ones((count, points), bool))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_cameras_and_depths_say_where_each_frame_shows_a_point(seed):
    seen = sightings(seed)
    found = find_parallax(seen, SIZE)
    assert found is not None
    assert found.trusted.sum() >= 4
    kept = (seen.points[:, None] == found.points[None]).all(axis=-1).any(axis=1)
    assert kept.mean() > 0.7
    grid, depths = found.points[None].astype(np.float32), found.depths[None].astype(np.float32)
    for n, ends in enumerate(seen.ends):
        if not found.trusted[n]:
            continue
        apart = np.linalg.norm(found.displaced(n, found.undisplaced(n, grid), depths)[0] - ends[kept], axis=-1)
        assert np.median(apart) < 0.3


def test_one_plane_has_no_parallax_and_strangers_have_none_either():
    points = np.random.default_rng(0).uniform(0, SIZE, (200, 2))
    still = np.stack([points, points + 0.05])
    assert find_parallax(Sightings(points, still, np.ones((2, 200), bool)), SIZE) is None
    astray = points + np.random.default_rng(1).uniform(-60, 60, (3, 200, 2))
    assert find_parallax(Sightings(points, astray, np.ones((3, 200), bool)), SIZE) is None
    assert find_parallax(Sightings(points, still, np.zeros((2, 200), bool)), SIZE) is None


def test_the_depth_of_a_hidden_post_is_found():
    picture, laid = layered(0), [layered(step) for step in (-2, -1, 1, 2)]
    hole = np.zeros(picture.shape[:2], bool)
    hole[50:90, 90:130] = True
    seen = [np.ones_like(hole)] * 4
    parallax = find_parallax(follow(picture, laid, [~hole & one for one in seen]), SIZE)
    assert isinstance(parallax, Parallax)
    window = slice(50, 90), slice(90, 130)
    depth = sweep(parallax, laid, seen, window)
    post, wall = depth[5:-5, 13:27], depth[5:-5, :6]
    assert abs(np.median(post) - np.median(wall)) == pytest.approx(5, abs=1.2)


def test_what_lies_outside_a_view_or_in_its_hole_is_not_seen():
    view, hole = np.full((20, 30, 3), 90, np.uint8), np.zeros((20, 30), bool)
    hole[8:12, 8:12] = True
    points = np.array([[[10, 10], [20, 10], [29.4, 10], [-5, 3]]], np.float32)
    pixels, seen = shown_at(view, hole, np.eye(3), points)
    assert seen.tolist() == [[False, True, False, False]]
    assert (pixels[0, 1] == 90).all()


@pytest.mark.parametrize(("number", "bound"), [(240, 32), (252, 31)])  # by depths of one flow 34.5 and 28.8
def test_gaps_between_houses_are_truer_by_several_ways_than_along_one_plane(number, bound):
    pictures = frames(9)
    masks = [true_mask(one) > 0 for one in pictures]
    found = Neighbours(list(pictures.values()), [dilate(mask) for mask in masks]).fill(list(pictures).index(number))
    truth = cv2.imread(str(FILM / "plates" / f"{number:06d}.png"))[..., ::-1]
    inside = (true_mask(number) > 0) & found.known
    errors, count = squared_errors(found.image, truth, inside, np.zeros(inside.shape, np.uint8), 1)
    assert psnr_db(float(errors[0]), int(count[0])) > bound
