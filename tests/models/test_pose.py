from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pose import COCO_KEYPOINTS, POSE_ESTIMATORS, isolate
from models.pose.actions import ACTIONS, TimedPose, bridged, label_actions, middle_row
from models.pose.skeleton import is_full_body, normalise, shot_size, view_of
from tests.models.sample_film import Row, rows

FRAME_SIZE = (288, 512)
MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


@pytest.fixture(scope="module")
def poses() -> dict[str, list[tuple[Row, np.ndarray]]]:
    estimator = POSE_ESTIMATORS.load("blazepose")
    found: dict[str, list[tuple[Row, np.ndarray]]] = {}
    for shot in (2, 4, 12):
        for row in rows(shot):
            keypoints = estimator.estimate(isolate(row.image, row.alpha), row.box)
            found.setdefault(row.track, []).append((row, keypoints))
    return found


def actions_of(track: list[tuple[Row, np.ndarray]]) -> list[str]:
    return label_actions([TimedPose(row.time_s, keypoints, row.box, middle_row(row.alpha)) for row, keypoints in track])


def test_legs_of_full_bodies_are_found(poses):
    hits = []
    for row, keypoints in poses["4-luca"] + poses["4-gia"] + poses["12-luca"]:
        reach = 0.1 * (row.box[3] - row.box[1])
        orders = (list(range(17)), MIRRORED)  # left and right are a coin toss in profile
        errors = [np.linalg.norm(keypoints[order, :2] - row.keypoints[:, :2], axis=1) for order in orders]
        hits.append(min(errors, key=lambda each: each.mean())[11:] < reach)
    assert np.mean(hits) >= 0.9


def test_busts_are_not_believed(poses):
    busts = [keypoints[:, 2].mean() for _, keypoints in poses["2-luca"]]
    bodies = [keypoints[:, 2].mean() for _, keypoints in poses["4-luca"] + poses["4-gia"]]
    assert max(busts) < 0.2
    assert min(bodies) > 0.5


def test_actions_of_moving_characters(poses):
    assert actions_of(poses["12-luca"]).count("running") >= 10
    assert actions_of(poses["4-luca"]).count("jumping") >= 12
    assert actions_of(poses["4-gia"]).count("waving") >= 12
    assert set(actions_of(poses["2-luca"])) == {"unknown"}


def with_a_post(row: Row, ground: int) -> Row:
    """Put a post that stands on the ground behind the character, a little wider than a foot, into its mask."""
    alpha, middle = row.alpha.copy(), int(row.box[0] + row.box[2]) // 2
    alpha[int(row.box[1]) + 20 : ground, middle - 3 : middle + 3] = 255
    return replace(row, alpha=alpha, box=(row.box[0], row.box[1], row.box[2], float(ground)))


def test_a_jumper_jumps_before_a_post_that_the_mask_took_for_a_part_of_him(poses):
    ground = 8 + int(max(row.box[3] for row, _ in poses["4-luca"]))
    jumper = [(with_a_post(row, ground), keypoints) for row, keypoints in poses["4-luca"]]
    assert actions_of(jumper).count("jumping") >= 10
    runner = [(with_a_post(row, ground), keypoints) for row, keypoints in poses["12-luca"]]
    assert "jumping" not in actions_of(runner)
    waver = [(with_a_post(row, ground), keypoints) for row, keypoints in poses["4-gia"]]
    assert actions_of(waver) == actions_of(poses["4-gia"])


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 0.5), st.floats(0, 6.3), st.floats(-0.3, 0.3), st.floats(40, 400))
def test_a_jump_lifts_mask_and_skeleton_head_and_feet(height, phase, pan, size):
    time_s = np.arange(12) / 5
    lift = height * (np.sin(2 * np.pi * 0.9 * time_s + phase) + 1) / 2 + pan * time_s
    still, drift = np.zeros(12), pan * time_s

    def labels(sole: np.ndarray, hips: np.ndarray, feet: np.ndarray, middle: np.ndarray) -> set[str]:
        track = [body(*each, size) for each in zip(time_s, sole, hips, feet, middle, strict=True)]
        return set(label_actions(track)[3:-3])  # whose windows hold more than half a jump

    assert labels(lift, lift, lift, lift) == {"jumping"}
    assert labels(drift, lift, lift, lift) == {"jumping"}  # something in the mask reaches the ground
    assert "jumping" not in labels(drift, lift, drift, lift)  # squats
    assert "jumping" not in labels(drift, lift, lift, drift)  # a misread skeleton
    assert labels(still, still, still, still) == {"standing"}


def body(time_s: float, sole: float, hips: float, feet: float, middle: float, size: float) -> TimedPose:
    """Return somebody who stands upright, parts of him lifted by these shares of the height."""
    x = [50, 52, 48, 54, 46, 60, 40, 62, 38, 62, 38, 56, 44, 56, 44, 56, 44]
    y = [8, 6, 6, 7, 7, 20, 20, 34, 34, 48, 48, 50, 50, 73, 73, 95, 95]
    up = np.array([hips] * 13 + [(hips + feet) / 2] * 2 + [feet] * 2)
    keypoints = np.column_stack([np.array(x) / 100, np.array(y) / 100 - up, np.full(17, 1 / size)]) * size
    box = (0.0, -size * middle, size, size * (1 - sole))
    return TimedPose(time_s, keypoints.astype(np.float32), box, size * (0.5 - middle))


def test_a_mask_without_a_pixel_has_no_middle():
    assert middle_row(np.array([[0, 0], [255, 0], [255, 255], [0, 0]], np.uint8)) == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match="of 3x2 is empty"):
        middle_row(np.zeros((2, 3), np.uint8))


def test_views_and_shot_sizes(poses):
    assert [view_of(keypoints) for _, keypoints in poses["4-gia"]].count("front") >= 12
    assert [view_of(keypoints) for _, keypoints in poses["12-luca"]].count("profile") >= 9
    assert {shot_size(keypoints, row.box, FRAME_SIZE) for row, keypoints in poses["2-luca"]} == {"close-up"}
    assert {shot_size(keypoints, row.box, FRAME_SIZE) for row, keypoints in poses["4-luca"]} == {"full"}
    assert all(is_full_body(keypoints, row.box) for row, keypoints in poses["4-gia"])


def test_the_same_picture_gives_the_same_pose():
    row = rows(12)[0]
    one, other = (POSE_ESTIMATORS.load("blazepose").estimate(row.image, row.box) for _ in range(2))
    assert one.tobytes() == other.tobytes()
    assert one.shape == (len(COCO_KEYPOINTS), 3)
    assert one.dtype == np.float32


def test_an_empty_box_and_an_unknown_name_are_refused():
    with pytest.raises(ValueError, match=r"box .* is empty"):
        POSE_ESTIMATORS.load("blazepose").estimate(rows(12)[0].image, (5, 5, 5, 9))
    with pytest.raises(ValueError, match="blazepose"):
        POSE_ESTIMATORS.load("openpose")
    with pytest.raises(ValueError, match="size of the frame"):
        isolate(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


@settings(max_examples=40, deadline=None)
@given(st.floats(-300, 300), st.floats(0.2, 5.0), st.integers(0, 2**31 - 1))
def test_the_normal_form_forgets_place_and_size(shift, scale, seed):
    keypoints = np.random.default_rng(seed).uniform(0, 200, (17, 3)).astype(np.float32)
    keypoints[[5, 6], 1] -= 250  # a torso of some length
    moved = keypoints.copy()
    moved[:, :2] = moved[:, :2] * scale + shift
    assert np.allclose(normalise(moved), normalise(keypoints), atol=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, 2**31 - 1))
def test_any_track_gets_one_known_action_a_pose(length, seed):
    random = np.random.default_rng(seed)
    track = [
        TimedPose(at / 3, random.uniform(0, 1, (17, 3)).astype(np.float32) * 200, (0.0, 0.0, 50.0, 150.0), 80.0)
        for at in range(length)
    ]
    labels = label_actions(track)
    assert len(labels) == length
    assert set(labels) <= set(ACTIONS)


@pytest.mark.parametrize(
    ("between", "seconds", "expected"),
    [
        pytest.param(["unknown"] * 2, 1.0, ["running"] * 4, id="a gap"),
        pytest.param(["unknown"] * 2, 1.4, ["running"] * 4, id="as long a gap as two windows see"),
        pytest.param(["unknown"] * 2, 1.5, ["running", "unknown", "unknown", "running"], id="longer"),
        pytest.param(["unknown", "standing"], 1.0, ["running", "unknown", "standing", "running"], id="something else"),
    ],
)
def test_an_action_that_goes_on_is_not_interrupted_by_what_is_unknown(between, seconds, expected):
    assert bridged(["running", *between, "running"], np.linspace(0, seconds, 4), 1.4) == expected


def test_what_is_unknown_at_either_end_stays_so():
    labels = ["unknown", "walking", "unknown"]
    assert bridged(labels, np.arange(3) / 3, 1.4) == labels


@given(st.lists(st.sampled_from(ACTIONS)), st.floats(0, 5))
def test_bridging_changes_nothing_that_is_known_and_is_done_at_once(labels, longest):
    time_s = np.arange(len(labels)) / 3
    once = bridged(labels, time_s, longest)
    assert [new for old, new in zip(labels, once, strict=True) if old != "unknown"] == [
        old for old in labels if old != "unknown"
    ]
    assert bridged(once, time_s, longest) == once
