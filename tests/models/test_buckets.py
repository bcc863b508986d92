"""Buckets: sizes of one area and several shapes; and the crops that have these shapes."""

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from models.buckets import bucket_step, buckets, nearest_bucket
from models.framing import SHAPES, body_crop, face_crop, scaled_size, trimmed, wide_crops

RESOLUTIONS = st.integers(8, 256).map(lambda eighth: 8 * eighth)
MULTIPLES = st.sampled_from([8, 16])
FRAMES = st.tuples(st.integers(120, 2000), st.integers(120, 2000))


@given(RESOLUTIONS, MULTIPLES)
def test_buckets_are_what_trainers_expect(resolution: int, multiple: int):
    step, found = bucket_step(resolution, multiple), buckets(resolution, multiple)
    assert step % multiple == 0
    assert 8 <= step <= 64
    assert len(found) == len(set(found)) >= 3
    assert set(found) == {(height, width) for width, height in found}
    for width, height in found:
        assert width % step == height % step == 0
        assert 0.5 <= width / height <= 2
        assert 0.75 * resolution**2 < width * height <= resolution**2
        # but for the square, a step more in the one or the other side would be too large
        assert width == height or max((width + step) * height, width * (height + step)) > resolution**2
    assert [width / height for width, height in found] == sorted(width / height for width, height in found)


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (128, {(96, 160), (112, 144), (128, 128), (144, 112), (160, 96)}),
        (512, {(384, 640), (448, 576), (512, 512), (576, 448), (640, 384)}),
    ],
)
def test_small_resolutions_have_as_many_shapes_as_512(resolution: int, expected: set[tuple[int, int]]):
    assert set(buckets(resolution)) == expected


def test_1024_has_the_sizes_that_sdxl_was_trained_on():
    """Podell et al., SDXL, 2023, appendix I: those of 1:2 to 2:1."""
    told = {(704, 1408), (768, 1344), (768, 1280), (832, 1216), (896, 1152), (960, 1088), (1024, 1024)}
    assert {size for size in buckets(1024) if size[0] <= size[1]} == told


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), RESOLUTIONS)
def test_the_nearest_bucket_cuts_least_off(size: tuple[int, int], resolution: int):
    def kept(bucket: tuple[int, int]) -> float:
        """Return the share of the picture that is left when it is scaled to cover a bucket."""
        scale = max(bucket[0] / size[0], bucket[1] / size[1])
        return bucket[0] * bucket[1] / (size[0] * size[1] * scale**2)

    found = buckets(resolution)
    assert kept(nearest_bucket(*size, found)) == pytest.approx(max(map(kept, found)))
    assert all(nearest_bucket(*bucket, found) == bucket for bucket in found)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return a box of whole pixels in a picture, and the picture's size."""
    size = draw(FRAMES)
    x0, y0 = (draw(st.integers(0, side - 30)) for side in size)
    x1, y1 = draw(st.integers(x0 + 24, size[0])), draw(st.integers(y0 + 24, size[1]))
    return (float(x0), float(y0), float(x1), float(y1)), size


def aspect(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) / (box[3] - box[1])


def area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def common(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    return width * (min(one[3], other[3]) - max(one[1], other[1]))


@given(boxes())
def test_squares_are_cut_as_ever(placed):
    """What crops were before there were buckets, written out: data sets without buckets stay the same to the bit."""
    box, size = placed
    for factor, crop in ((1.2, body_crop(box, size)), (2.0, face_crop(box, size))):
        side = min(factor * max(box[2] - box[0], box[3] - box[1]), *size)
        x0 = min(max((box[0] + box[2]) / 2 - side / 2, 0.0), size[0] - side)
        y0 = min(max((box[1] + box[3]) / 2 - side / 2, 0.0), size[1] - side)
        expected = round(x0, 2), round(y0, 2), round(x0 + side, 2), round(y0 + side, 2)
        assert [str(float(edge)) for edge in crop] == [str(float(edge)) for edge in expected]  # -0.0 is none of them
        assert trimmed(crop, scaled_size(crop, 512)) == crop
        assert scaled_size(crop, 520) == (520, 520)


@given(boxes(), st.floats(1, 4), st.floats(0.1, 1))
def test_a_subject_has_as_much_of_its_crop_as_is_asked_for_where_the_picture_is_large_enough(placed, margin, share):
    box, size = placed
    longer = max(box[2] - box[0], box[3] - box[1])
    for crop, side in (
        (body_crop(box, size, margin=margin), margin * longer),
        (face_crop(box, size, share=share), longer / share),
    ):
        assert crop[2] - crop[0] == pytest.approx(min(side, *size), abs=0.02)
        assert crop[3] - crop[1] == pytest.approx(min(side, *size), abs=0.02)


@given(boxes())
@example(((0.0, 0.0, 107.0, 114.0), (120, 137)))  # the shape that adds least, 7:9, has no room for its width
def test_a_body_is_cut_out_in_the_shape_of_a_bucket(placed):
    box, size = placed
    crop = body_crop(box, size, SHAPES)
    assert min(crop[:2]) >= 0
    assert crop[2] <= size[0] + 0.01
    assert crop[3] <= size[1] + 0.01
    assert min(abs(aspect(crop) - width / height) for width, height in SHAPES) < 0.002
    for resolution in (128, 256, 512):
        bucket = scaled_size(crop, resolution)
        assert abs(aspect(crop) - bucket[0] / bucket[1]) < 0.002
        assert trimmed(crop, bucket) == crop
    # It shows at least what the square shows of the subject, and where it can no more than its air besides.
    assert common(crop, box) >= common(body_crop(box, size), box) - 1
    assume(max(box[2] - box[0], box[3] - box[1]) * 1.8 < min(size))
    assert common(crop, box) == pytest.approx(area(box))
    assert area(crop) <= area(body_crop(box, size)) * 1.01


@given(FRAMES)
def test_plates_are_cut_in_the_widest_shape_they_have_and_in_three_where_these_differ(size: tuple[int, int]):
    crops = wide_crops(size, SHAPES)
    for x0, y0, x1, y1 in crops:
        assert 0 <= x0 < x1 <= size[0] + 0.01
        assert 0 <= y0 < y1 <= size[1] + 0.01
        assert math.isclose(x1 - x0, size[0], abs_tol=0.02) or math.isclose(y1 - y0, size[1], abs_tol=0.02)
    assert len(crops) in {1, 3}
    assert len(crops) == 1 or crops[0][0] < crops[1][0] < crops[2][0]


def test_a_film_of_16_to_9_gives_one_wide_crop_where_it_gave_three_squares():
    assert len(wide_crops((1280, 720))) == 3
    assert wide_crops((1280, 720), SHAPES) == [(40.0, 0.0, 1240.0, 720.0)]
    assert len(wide_crops((1720, 720), SHAPES)) == 3


def test_a_crop_of_no_buckets_shape_is_trimmed_evenly():
    assert trimmed((10.0, 20.0, 110.0, 80.0), (1, 1)) == (30.0, 20.0, 90.0, 80.0)
    assert trimmed((10.0, 20.0, 70.0, 120.0), (384, 640)) == (10.0, 20.0, 70.0, 120.0)
    assert scaled_size((10.0, 20.0, 70.0, 120.0), 768) == (576, 960)
