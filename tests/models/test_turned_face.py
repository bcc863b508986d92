import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face import EXPRESSION_LABELERS, FACE_DETECTORS, NO_FACE, Face
from models.face.head_sphere import HeadSphere, ball, front_edge, head_sphere
from models.face.smoothing import TimedGuess, smooth_track
from tests.models.sample_film import rows

PROFILES = (1, 7)  # somebody runs past smiling; somebody walks past without


@pytest.fixture(scope="module")
def labels() -> dict[int, list[str]]:
    detector, labeler = FACE_DETECTORS.load("blazeface"), EXPRESSION_LABELERS.load("facemesh-turned")
    found = {}
    for shot in PROFILES:
        faces = [(row, detector.find(row.image, row.alpha)) for row in rows(shot)]
        track = [
            TimedGuess(row.time_s, face and face.box, labeler.label(row.image, row.alpha, face) if face else NO_FACE)
            for row, face in faces
        ]
        found[shot] = [guess.label for guess in smooth_track(track)]
    return found


def test_smiles_of_heads_that_look_aside_are_found(labels):
    assert labels[1].count("happy") >= 6  # of 18, of which half are seen in pure profile or past it
    assert set(labels[1]) <= {"happy", "unknown"}


def test_calm_heads_that_look_aside_are_not_called_happy(labels):
    assert labels[7].count("happy") <= 0.1 * len(labels[7])


def test_frontal_faces_read_as_they_did():
    detector = FACE_DETECTORS.load("blazeface")
    straight, turned = (EXPRESSION_LABELERS.load(name) for name in ("facemesh", "facemesh-turned"))
    for row in rows(2) + rows(4)[::4]:
        face = detector.find(row.image, row.alpha)
        assert face is not None
        assert turned.label(row.image, row.alpha, face) == straight.label(row.image, row.alpha, face)


def looking(facing: int, centre: tuple[float, float], radius: float) -> tuple[Face, np.ndarray]:
    """Return the face and the silhouette of a ball that looks to the right (1) or left (-1)."""
    x, y = np.meshgrid(np.arange(400) + 0.5, np.arange(300) + 0.5)
    alpha = (((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2) * 255).astype(np.uint8)
    half = radius / 0.7 / 2
    middle = centre[0] + facing * 0.3 * radius
    points = np.full((6, 2), (middle + facing * half / 2, centre[1]), np.float32)
    points[4:, 0] = middle - facing * half / 2
    return Face((middle - half, centre[1] - half, middle + half, centre[1] + half), 0.9, points), alpha


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((1, -1)), st.floats(120, 280), st.floats(110, 190), st.floats(25, 90))
def test_a_round_heads_ball_is_found(facing, x, y, radius):
    face, alpha = looking(facing, (x, y), radius)
    sphere = head_sphere(face, alpha)
    assert sphere is not None
    assert sphere.facing == facing
    assert sphere.radius == pytest.approx(radius)
    assert sphere.centre == pytest.approx((x, y), abs=1.0 + 0.02 * radius)


def test_heads_that_are_not_round_or_are_cut_off_have_none():
    face, alpha = looking(1, (200, 150), 60)
    wedge = alpha.copy()
    for row in range(300):  # a snout
        wedge[row, 200 : 200 + max(0, 160 - 3 * abs(row - 150))] = 255
    assert head_sphere(face, wedge) is None
    assert head_sphere(face, np.full_like(alpha, 255)) is None
    assert len(front_edge(np.full_like(alpha, 255), (200, 100, 200), 1)[0]) == 0


@settings(max_examples=20, deadline=None)
@given(st.sampled_from((1, -1)), st.floats(20, 60))
def test_what_a_ball_shows_at_an_angle_comes_to_the_middle_when_turned_back(facing, degrees):
    radius, centre = 80.0, (200.0, 150.0)
    spot = centre[0] + facing * np.sqrt(radius**2 - 20**2) * np.sin(np.radians(degrees))
    x, y = np.meshgrid(np.arange(400) + 0.5, np.arange(300) + 0.5)
    light = 255 * np.exp(-((x - spot) ** 2 + (y - centre[1] + 20) ** 2) / 18)
    image = np.repeat(light[..., None], 3, axis=2).astype(np.uint8)
    view = HeadSphere(centre, radius, facing).turned_back(image, degrees, 1.5, 192)[..., 0].astype(float)
    inside = ball(1.5, 192)[2] > 0.2
    view = np.where(inside, view, 0)
    brightest = np.argwhere(view > 0.9 * view.max()).mean(axis=0)
    assert brightest[1] == pytest.approx(95.5, abs=2.5)  # the middle column
    assert brightest[0] == pytest.approx(95.5 - 20 / radius * 192 / 2 / 1.5, abs=2.5)


def test_the_hidden_half_is_the_seen_one_mirrored():
    image = np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)
    view = HeadSphere((200, 150), 80, 1).turned_back(image, 90, 1.2, 64)
    np.testing.assert_array_equal(view, view[:, ::-1])
    assert (view[0, 0] == 128).all()
    straight = HeadSphere((200, 150), 80, 1).turned_back(image, 0, 1.0, 160)
    np.testing.assert_allclose(straight[80, 60:100].astype(int), image[150, 180:220].astype(int), atol=2)
