"""Regions of a picture: what they cover, the windows that they see, and how they blend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.faults import InputFault
from data_contracts.regions import columns
from models.diffusion.regions import covered, parts_of, window_of
from models.pictures import encode_png


def test_two_halves_of_a_wide_picture_see_overlapping_squares():
    left, right = parts_of(list(columns(("luca", "gia")).values()), (16, 24), 0.03)
    assert left.window == (slice(0, 16), slice(0, 16))
    assert right.window == (slice(0, 16), slice(8, 24))
    assert left.weights.shape == right.weights.shape == (16, 16)
    assert np.all(left.weights[:, :8] == 1)  # nothing else is seen there
    assert np.all(left.weights[:, 14:] < 0.01)
    assert float(left.weights[0, 11] + right.weights[0, 3]) == pytest.approx(1)


@given(st.integers(4, 24), st.integers(4, 48), st.integers(1, 4), st.floats(0, 0.3), st.floats(0, 0.3), st.booleans())
def test_weights_add_up_to_one_in_every_cell(rows, wide, count, feather, top, rest):
    areas = [(left, top if rest else 0.0, right, 1.0) for left, _, right, _ in columns(tuple("abcd"[:count])).values()]
    grid = (rows, wide)
    total = np.zeros(grid)
    for part in parts_of([*areas, *([None] if rest else [])], grid, feather):
        assert (part.weights >= 0).all()
        total[part.window] += part.weights
    assert np.allclose(total, 1, atol=1e-5)


@given(st.integers(3, 20), st.integers(3, 40), st.data())
def test_a_window_holds_its_region_and_lies_inside_the_picture(rows, wide, data):
    cover = np.zeros((rows, wide), np.float32)
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, wide - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, wide))
    cover[top:bottom, left:right] = 1
    (down, across), side = window_of(cover, (rows, wide)), min(rows, wide)
    assert 0 <= down.start <= top < bottom <= down.stop <= rows
    assert 0 <= across.start <= left < right <= across.stop <= wide
    assert down.stop - down.start == max(side, bottom - top)
    assert across.stop - across.start == max(side, right - left)


def test_masks_are_stretched_over_the_picture(tmp_path):
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 20:] = 255
    (tmp_path / "right.png").write_bytes(encode_png(mask))
    cover, rest = covered([tmp_path / "right.png", None], (8, 8))
    assert cover[:, 4:].min() == 1
    assert cover[:, :4].max() == 0
    assert np.array_equal(rest, 1 - cover)
    with pytest.raises(InputFault, match=r"regions right\.png, \[0, 0, 0\.7, 1\] have 20% of the picture in common"):
        covered([tmp_path / "right.png", (0, 0, 0.7, 1)], (20, 20))
    (tmp_path / "black.png").write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    with pytest.raises(InputFault, match=r"region black\.png covers nothing"):
        covered([tmp_path / "black.png"], (8, 8))
    with pytest.raises(InputFault, match=r"region none\.png: none\.png: not a picture"):
        covered([tmp_path / "none.png"], (8, 8))


def test_a_place_that_is_in_no_region_is_refused():
    with pytest.raises(InputFault, match="50% of the picture are in no region: widen the regions, or add one without"):
        parts_of([(0, 0, 0.5, 1)], (8, 8), 0.0)
