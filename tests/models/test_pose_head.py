import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face import FACE_DETECTORS
from models.face.pose_head import PoseHead, face_box, face_of
from models.web_file import FOLDER_VARIABLE
from models.weights import MissingWeights
from tests.models.sample_film import rows


def test_the_face_of_whole_bodies_holds_the_true_eyes_and_nose():
    detector = FACE_DETECTORS.load("blazepose-head")
    held = []
    for row in rows(4)[::3] + rows(12)[::3]:
        face = detector.find(row.image, row.alpha)
        assert face is not None
        x0, y0, x1, y1 = face.box
        held.append(all(x0 - 3 <= x <= x1 + 3 and y0 - 3 <= y <= y1 + 3 for x, y, _ in row.keypoints[:3]))
    assert np.mean(held) >= 0.9


def test_busts_and_nobody_have_none():
    detector = FACE_DETECTORS.load("blazepose-head")
    assert detector.find(rows(2)[0].image, rows(2)[0].alpha) is None
    assert detector.find(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)) is None


def test_true_keypoints_give_the_box_that_the_face_detector_finds():
    detector = FACE_DETECTORS.load("blazeface")
    for row in rows(4)[::5]:
        found = detector.find(row.image, row.alpha)
        keypoints = np.concatenate([row.keypoints[:, :2], np.ones((17, 1), np.float32)], axis=1)
        face = face_of(keypoints, row.alpha, 1.0)
        assert found is not None
        assert overlap(face.box, found.box) > 0.4
        assert list(face.points[2]) == pytest.approx(list(row.keypoints[0, :2]))


@settings(max_examples=60, deadline=None)
@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.3, 8))
def test_the_box_moves_and_grows_with_the_head(dx, dy, zoom):
    points = np.array([[50, 60], [55, 50], [44, 51], [62, 54], [38, 55]], np.float32)
    box = np.array(face_box(points, 20.0))
    moved = np.array(face_box((points * zoom + (dx, dy)).astype(np.float32), 20.0 * zoom + dy))
    np.testing.assert_allclose(moved, box * zoom + (dx, dy, dx, dy), atol=0.01 * zoom + 0.01)


def test_the_rtmpose_head_needs_rtmpose(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingWeights, match="rtmpose-m"):
        FACE_DETECTORS.load("rtmpose-head")
    assert isinstance(FACE_DETECTORS.load("blazepose-head"), PoseHead)


def overlap(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)
