"""Masks that share no pixel, in order from near to far: on true masks of the sample film."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.segment.layering import Sighting, depth_order, layer_frame, main_parts, share_pixels
from models.segment.stability import stability
from tests.models.true_masks import GIA, LUCA, SIZE, pair_masks, sighting


@pytest.fixture(scope="module")
def pair():
    return pair_masks()


def logits(draw_seed, count):
    rng = np.random.default_rng(draw_seed)
    return [Sighting(cv2.resize(rng.normal(0, 4, (6, 8)).astype(np.float32), (64, 48)), 0.9) for _ in range(count)]


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_no_pixel_belongs_to_two_characters_and_alpha_tells_who_has_it(seed, count):
    seen = dict(enumerate(logits(seed, count)))
    layers = layer_frame(3, seen, (96, 128))
    solid = np.stack([layer.alpha >= 128 for layer in layers]).astype(int)
    assert solid.sum(axis=0).max() == 1
    assert [layer.track for layer in layers] == sorted({layer.track for layer in layers})
    anyone = np.max([cv2.resize(one.logits, (128, 96)) for one in seen.values()], axis=0) >= 0
    assert (anyone | ~solid.any(axis=0)).all()
    for layer in layers:
        assert layer.index == 3
        assert 0 <= layer.score <= 1
        assert 0 <= layer.depth < count


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_alphas_sum_to_at_most_one_where_somebody_is(seed, count):
    probability = np.random.default_rng(seed).random((count, 12, 9)).astype(np.float32)
    owner = probability.argmax(axis=0)
    alpha = share_pixels(probability, owner).astype(int)
    best = np.take_along_axis(alpha, owner[None], 0)[0]
    assert ((alpha >= 128).sum(axis=0) == (probability.max(axis=0) >= 127.5 / 255)).all()
    others = np.where(np.arange(count)[:, None, None] == owner, 0, alpha)
    assert (others.max(axis=0) + best <= 256).all()


@given(st.integers(0, 10_000))
def test_a_mask_is_as_stable_as_its_edge_is_steep(seed):
    masks = np.stack([one.logits for one in logits(seed, 3)])
    found = stability(masks)
    assert found.shape == (3,)
    assert ((found >= 0) & (found <= 1)).all()
    assert (stability(4 * masks) >= found).all()
    assert found.tolist() == [float(stability(mask)) for mask in masks]
    assert stability(np.full((5, 6), -9, np.float32)) == 0
    for mask, stable in zip(masks, found, strict=True):
        assert Sighting(mask, 0.5).score == pytest.approx(stable / 2)


def test_true_masks_come_back_as_they_were(pair):
    layers = layer_frame(0, {0: sighting(pair[0][LUCA]), 1: sighting(pair[0][GIA])}, SIZE)
    for layer, value in zip(layers, (LUCA, GIA), strict=True):
        solid = layer.alpha >= 128
        assert (solid & pair[0][value]).sum() / (solid | pair[0][value]).sum() > 0.97
        assert 0 < ((layer.alpha > 0) & (layer.alpha < 255)).sum() < solid.sum()
        assert layer.depth == 0


def test_the_surer_one_of_two_who_overlap_is_in_front(pair):
    luca, gia = pair[0][LUCA], pair[0][GIA]
    apart = np.flatnonzero(gia.any(axis=0))[0] - np.flatnonzero(luca.any(axis=0))[0]
    moved = np.roll(gia, 30 - apart, axis=1)
    assert (luca & moved).sum() > 1000
    front, behind = layer_frame(0, {0: sighting(luca, 9.0), 1: sighting(moved, 4.0)}, SIZE)
    assert (front.depth, behind.depth) == (0, 1)
    assert not ((front.alpha >= 128) & (behind.alpha >= 128)).any()
    assert ((front.alpha >= 128) & luca & moved).sum() > 0.9 * (luca & moved).sum()
    order = depth_order(np.stack([moved, luca]), np.where(luca, 1, 0))
    assert order == [1, 0]


def test_a_second_look_at_the_same_character_is_dropped(pair):
    layers = layer_frame(0, {0: sighting(pair[0][LUCA], 6.0), 4: sighting(pair[0][LUCA], 9.0)}, SIZE)
    assert [layer.track for layer in layers] == [4]


def test_specks_go_and_what_an_occluder_cuts_in_two_stays(pair):
    alpha = np.where(pair[0][LUCA], 255, 0).astype(np.uint8)
    rows = np.flatnonzero(pair[0][LUCA].any(axis=1))
    middle = int(rows[len(rows) // 2])
    alpha[middle : middle + 8] = 0
    speck = alpha.copy()
    speck[2:6, 2:6] = 255
    np.testing.assert_array_equal(main_parts(speck), alpha)
    np.testing.assert_array_equal(main_parts(alpha), alpha)


def test_an_unseen_object_has_no_box_and_no_layer():
    nothing = sighting(np.zeros(SIZE, bool))
    assert not nothing.seen
    assert nothing.box(SIZE) == (0, 0, 0, 0)
    assert layer_frame(0, {0: nothing}, SIZE) == []
    assert sighting(np.ones(SIZE, bool)).box(SIZE) == (0, 0, 512, 288)
