import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from transformers import image_utils

from models.normalise import CLIP, IMAGENET, ColourScale, normalise_picture

pictures = array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(lambda size: arrays(np.uint8, (*size, 3)))
units, positive = st.tuples(*[st.floats(0, 1)] * 3), st.tuples(*[st.floats(0.05, 1)] * 3)


@given(pictures, units, positive)
def test_a_picture_comes_back_from_its_normal_form(picture, mean, deviation):
    normal = normalise_picture(picture, ColourScale(mean, deviation))
    assert normal.shape == (3, *picture.shape[:2])
    assert normal.dtype == np.float32
    assert normal.flags.c_contiguous
    restored = 255 * (normal.transpose(1, 2, 0).astype(np.float64) * deviation + np.array(mean))
    np.testing.assert_allclose(restored, picture, atol=1e-3)


@pytest.mark.parametrize("scale", [IMAGENET, CLIP])
def test_the_mean_colour_is_nothing_to_a_network(scale):
    colour = np.round(255 * np.array(scale.mean)).astype(np.uint8)
    assert np.abs(normalise_picture(colour[None, None], scale)).max() < 0.5 / 255 / min(scale.deviation) + 1e-6


def test_the_constants_are_those_of_the_networks_own_processors():
    assert IMAGENET.mean == tuple(image_utils.IMAGENET_DEFAULT_MEAN)
    assert IMAGENET.deviation == tuple(image_utils.IMAGENET_DEFAULT_STD)
    assert CLIP.mean == tuple(image_utils.OPENAI_CLIP_MEAN)
    assert CLIP.deviation == tuple(image_utils.OPENAI_CLIP_STD)
