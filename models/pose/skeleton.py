"""What a set of COCO keypoints says by itself: its normal form, the view, how much of the body the picture shows."""

from typing import Literal

import numpy as np

from models.pose import Box, Keypoints

View = Literal["front", "three-quarter", "profile", "back", "unknown"]
ShotSize = Literal["close-up", "medium", "full"]

NOSE, LEFT_EAR, RIGHT_EAR = 0, 3, 4
FACE = slice(0, 5)
SHOULDERS, ELBOWS, WRISTS = (5, 6), (7, 8), (9, 10)
HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16)
TORSO = SHOULDERS + HIPS
LEGS = HIPS + KNEES + ANKLES

MIN_CONFIDENCE = 0.3
"""Mean confidence of a group of joints below which nothing is concluded from it."""
PROFILE_YAW = 50.0
FRONT_YAW = 30.0
"""Yaw of the head in degrees: below, it faces the camera; above `PROFILE_YAW`, it is seen from the side."""
NARROW_SHOULDERS = 0.4
"""Distance of the shoulders across the picture, in torso lengths, under which a body is turned to the side."""
FACE_SEEN = 0.35
"""Mean confidence of nose, eyes and ears below which wide shoulders are a back."""
FULL_BODY_HEIGHT = 0.6
"""A whole figure spans at least this share of its box between nose and ankles."""


def confidence_of(keypoints: Keypoints, joints: tuple[int, ...]) -> float:
    """Return the mean confidence of `joints`, 0..1."""
    return float(keypoints[list(joints), 2].mean())


def midpoint(keypoints: Keypoints, joints: tuple[int, ...]) -> Keypoints:
    """Return the mean position of `joints`, `(2,)` pixels."""
    return np.asarray(keypoints[list(joints), :2].mean(axis=0), dtype=np.float32)


def torso_length(keypoints: Keypoints) -> float:
    """Return the distance from mid-shoulders to mid-hips in pixels, at least one."""
    span = midpoint(keypoints, SHOULDERS) - midpoint(keypoints, HIPS)
    return max(float(np.linalg.norm(span)), 1.0)


def normalise(keypoints: Keypoints) -> Keypoints:
    """Return the skeleton centred on the hips, in torso lengths, y down; confidences as they were, `(17, 3)`."""
    normal = keypoints.astype(np.float32).copy()
    normal[:, :2] = (keypoints[:, :2] - midpoint(keypoints, HIPS)) / torso_length(keypoints)
    return normal


def head_yaw(keypoints: Keypoints) -> float:
    """Return how far the head is turned from the camera, 0 (facing it) to 90 degrees (profile).

    On a round head the nose wanders off the middle of the ears by sin(yaw) while the ears close in by cos(yaw).
    """
    left, right, nose = (float(keypoints[joint, 0]) for joint in (LEFT_EAR, RIGHT_EAR, NOSE))
    return float(np.degrees(np.arctan2(abs(nose - (left + right) / 2), abs(left - right) / 2)))


def view_of(keypoints: Keypoints) -> View:
    """Return from which side the character is seen; "unknown" where head or shoulders are not sure."""
    if confidence_of(keypoints, SHOULDERS) < MIN_CONFIDENCE:
        return "unknown"
    shoulders = abs(float(keypoints[SHOULDERS[0], 0] - keypoints[SHOULDERS[1], 0])) / torso_length(keypoints)
    if float(keypoints[FACE, 2].mean()) < FACE_SEEN:
        return "back" if shoulders >= NARROW_SHOULDERS else "unknown"
    yaw = head_yaw(keypoints)
    if yaw >= PROFILE_YAW and shoulders < NARROW_SHOULDERS:
        return "profile"
    if yaw < FRONT_YAW and shoulders >= NARROW_SHOULDERS:
        return "front"
    return "three-quarter"


def is_full_body(keypoints: Keypoints, box: Box) -> bool:
    """Whether head to ankles are in the picture, and where a body of the box's height would have them."""
    if confidence_of(keypoints, LEGS) < MIN_CONFIDENCE or confidence_of(keypoints, ANKLES) < MIN_CONFIDENCE:
        return False
    span = float(keypoints[list(ANKLES), 1].max() - keypoints[NOSE, 1])
    return span >= FULL_BODY_HEIGHT * (box[3] - box[1])


def shot_size(keypoints: Keypoints, box: Box, frame_size: tuple[int, int]) -> ShotSize:
    """Return "full" (feet in the picture), "medium" (from the hips up) or "close-up" (head and shoulders).

    Args:
        keypoints: `(17, 3)`.
        box: of the character, in pixels.
        frame_size: (height, width) in pixels.
    """
    height, _ = frame_size
    cut_below = box[3] >= height - max(2.0, 0.01 * height)
    if is_full_body(keypoints, box) or not cut_below:
        return "full"
    hips_seen = confidence_of(keypoints, HIPS) >= MIN_CONFIDENCE
    return "medium" if hips_seen else "close-up"
