"""What a character does, by rules on its skeleton over the time around each pose.

A single pose does not say whether somebody runs: the rules look at `half_window_s` before and after. All of them are
symmetric in left and right, which are a coin toss in profile, and none needs the speed across the picture, since
cameras pan with a runner. "unknown" is an answer: a wrong word teaches a LoRA more than a missing one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.pose import Box, Image, Keypoints
from models.pose.skeleton import ANKLES, HIPS, KNEES, LEGS, MIN_CONFIDENCE, confidence_of, midpoint, normalise

Action = Literal["running", "jumping", "walking", "standing", "waving", "sitting", "unknown"]
ACTIONS: tuple[Action, ...] = get_args(Action)
Numbers = NDArray[np.float64]
IN_STEP = 0.6
"""Correlation above which two parts of a body rise together."""


@dataclass(frozen=True)
class TimedPose:
    """A pose of a track: seconds into the film, `(17, 3)` keypoints, the character's box, its mask's `middle_row`.

    All but the time are in frame pixels.
    """

    time_s: float
    keypoints: Keypoints
    box: Box
    middle: float


@dataclass(frozen=True)
class ActionRules:
    """Thresholds of the rules; lengths in torsos (mid-shoulders to mid-hips) unless they say otherwise.

    The angles come from gait: the swing knee bends to ~60 degrees inside when running and ~120 when walking, the
    elbows stay near 90 when running and near 150 when walking (Novacheck, "The biomechanics of running", 1998). They
    are met half-way, loosened by what a picture flattens and by which arm it hides.
    """

    half_window_s: float = 0.7
    min_poses: int = 3
    """Fewer trusted poses in a window say nothing about motion."""
    min_leg_confidence: float = MIN_CONFIDENCE
    jump_rise: float = 0.1
    """How far a body leaves the ground, in box heights; a runner's lowest foot bobs by half of that."""
    together: float = 0.2
    """Two feet at heights closer than this rise together: a jump or a stand, not a stride."""
    high_heel: float = 0.2
    """How far one ankle is above the other in a running stride; in a walking one they stay closer."""
    running_knee: float = 135.0
    running_elbow: float = 120.0
    running_signs: int = 2
    """How many of high heel, bent knee and bent elbow make a run."""
    stride: float = 0.3
    """By how much the distance of the ankles changes when legs swing."""
    still: float = 0.25
    """By how much it may change when somebody stands."""
    straight_knee: float = 145.0
    lowered: float = 0.3
    """A wrist this far below its shoulder hangs."""
    seated_thigh: float = 0.15
    """Height of hips above knees when the thighs lie; they hang at 0.4 and more."""
    agreement: float = 0.6
    """Share of the window's poses that must show a held gesture (a raised arm)."""


@dataclass(frozen=True)
class Limbs:
    """What the rules read off each pose of a track; every array is `(poses,)`."""

    time_s: Numbers
    trusted: NDArray[np.bool_]
    spread: Numbers  # ankles apart across the picture
    lift: Numbers  # one ankle above the other
    knee: Numbers  # the more bent knee, degrees
    elbow: Numbers  # likewise
    thigh: Numbers  # hips above knees
    higher_wrist: Numbers  # wrist above its shoulder, the higher of the two
    lower_wrist: Numbers
    sole: Numbers  # lower edge of the box, box heights, y down
    hips: Numbers  # likewise
    feet: Numbers  # the lower ankle, likewise
    middle: Numbers  # of the mask, likewise

    def window(self, at: int, half_s: float) -> "Limbs":
        """Return the trusted poses at most `half_s` seconds from pose `at`."""
        chosen = self.trusted & (np.abs(self.time_s - self.time_s[at]) <= half_s)
        return Limbs(**{name: values[chosen] for name, values in vars(self).items()})


def label_actions(track: Sequence[TimedPose], rules: ActionRules | None = None) -> list[Action]:
    """Return the action of each pose of one track, in its order.

    Args:
        track: the poses of one character in one shot, by time; a few a second (3 or more) are enough.
        rules: thresholds; the defaults hold for people and people-like characters.
    """
    if not track:
        return []
    rules = rules or ActionRules()
    limbs = read_limbs(track, rules)
    labels = [
        classify(limbs.window(at, rules.half_window_s), rules) if limbs.trusted[at] else "unknown"
        for at in range(len(track))
    ]
    return bridged(labels, limbs.time_s, 2 * rules.half_window_s)


def bridged(labels: Sequence[Action], time_s: Numbers, longest_s: float) -> list[Action]:
    """Return `labels` with an action that goes on after at most `longest_s` in place of what is unknown between."""
    known = [at for at, label in enumerate(labels) if label != "unknown"]
    through = list(labels)
    for before, after in pairwise(known):
        if labels[before] == labels[after] and time_s[after] - time_s[before] <= longest_s:
            through[before:after] = [labels[before]] * (after - before)
    return through


def read_limbs(track: Sequence[TimedPose], rules: ActionRules) -> Limbs:
    """Measure the limbs of each pose; whole bodies with sure legs are trusted."""
    skeletons = [normalise(pose.keypoints) for pose in track]
    points = np.stack(skeletons)[:, :, :2].astype(np.float64)  # (poses, 17, 2)
    heights = np.array([pose.box[3] - pose.box[1] for pose in track])
    ankles = np.abs(points[:, ANKLES[0]] - points[:, ANKLES[1]])
    knees = np.minimum(joint_angle(points, (11, 13, 15)), joint_angle(points, (12, 14, 16)))
    elbows = np.minimum(joint_angle(points, (5, 7, 9)), joint_angle(points, (6, 8, 10)))
    wrists = np.sort(np.stack([points[:, 5, 1] - points[:, 9, 1], points[:, 6, 1] - points[:, 10, 1]]), axis=0)
    return Limbs(
        time_s=np.array([pose.time_s for pose in track]),
        trusted=np.array([confidence_of(pose.keypoints, LEGS) >= rules.min_leg_confidence for pose in track]),
        spread=ankles[:, 0],
        lift=ankles[:, 1],
        knee=knees,
        elbow=elbows,
        thigh=np.array([float(midpoint(each, KNEES)[1] - midpoint(each, HIPS)[1]) for each in skeletons]),
        higher_wrist=wrists[1],
        lower_wrist=wrists[0],
        sole=np.array([pose.box[3] for pose in track]) / heights.mean(),
        hips=np.array([float(midpoint(pose.keypoints, HIPS)[1]) for pose in track]) / heights.mean(),
        feet=np.array([float(pose.keypoints[list(ANKLES), 1].max()) for pose in track]) / heights.mean(),
        middle=np.array([pose.middle for pose in track]) / heights.mean(),
    )


def middle_row(alpha: Image) -> float:
    """Return the mean row of a mask `(H, W)` uint8, each pixel by its weight; unlike an edge, no sliver moves it.

    Raises:
        ValueError: the mask is empty.
    """
    weights = alpha.sum(axis=1, dtype=np.float64)
    if weights.sum() == 0:
        message = f"a mask of {alpha.shape[1]}x{alpha.shape[0]} is empty, so it has no middle: give a layer's own mask"
        raise ValueError(message)
    return float(weights @ np.arange(len(weights)) / weights.sum())


def joint_angle(points: Numbers, joints: tuple[int, int, int]) -> Numbers:
    """Return the inner angle at the middle one of three joints in degrees, `(poses,)`; 180 is straight."""
    inner, joint, outer = (points[:, index] for index in joints)
    one, other = inner - joint, outer - joint
    lengths = np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-6)
    return np.asarray(np.degrees(np.arccos(np.clip((one * other).sum(axis=1) / lengths, -1, 1))), dtype=np.float64)


def classify(limbs: Limbs, rules: ActionRules) -> Action:
    """Return the one action that a window of poses shows, or "unknown"."""
    if len(limbs.time_s) < rules.min_poses:
        return "unknown"
    swing = float(np.ptp(limbs.spread))
    heel = second(limbs.lift, largest=True)
    elbow = float(np.median(limbs.elbow))
    signs = (heel >= rules.high_heel) + (second(limbs.knee) <= rules.running_knee) + (elbow <= rules.running_elbow)
    if rise(limbs) >= rules.jump_rise and heel < rules.together:
        return "jumping"
    if float(np.median(limbs.thigh)) <= rules.seated_thigh and swing < rules.still:
        return "sitting"
    if max(swing, float(np.ptp(limbs.lift))) >= rules.stride and signs >= rules.running_signs:
        return "running"
    if swing >= rules.stride and signs == 0 and float(np.median(limbs.higher_wrist)) < -rules.lowered:
        return "walking"
    return at_rest(limbs, rules) if swing < rules.still and heel < rules.together else "unknown"


def at_rest(limbs: Limbs, rules: ActionRules) -> Action:
    """Tell what somebody does who stays on the spot with straight legs."""
    if float(np.median(limbs.knee)) < rules.straight_knee:
        return "unknown"
    one_arm_up = (limbs.higher_wrist > 0) & (limbs.lower_wrist < -rules.lowered)
    if float(np.mean(one_arm_up)) >= rules.agreement:
        return "waving"
    arms_down = limbs.higher_wrist < -rules.lowered
    return "standing" if float(np.mean(arms_down)) >= rules.agreement else "unknown"


def second(values: Numbers, *, largest: bool = False) -> float:
    """Return the second smallest (or largest) value: an extreme that one misread pose cannot make."""
    return float(np.sort(values)[-2 if largest else 1])


def rise(limbs: Limbs) -> float:
    """Return how far a body leaves, as a whole, the straight line of a moving or zooming camera, in box heights.

    The mask and the skeleton must both say so: soles alone also rise when a mask loses a foot, hips alone when a pose
    is misread. Where the mask's lower edge is not the soles', since a post or a shadow is in the mask too, its middle
    and the skeleton's feet tell; the middle alone would also rise when somebody gets up.
    """
    parts = (limbs.sole, limbs.hips, limbs.feet, limbs.middle)
    soles, hips, feet, middle = (detrended(limbs.time_s, part) for part in parts)
    found = float(np.ptp(soles)) if in_step(soles, hips) else 0.0
    if in_step(middle, hips) and in_step(feet, hips):
        found = max(found, min(float(np.ptp(middle)), float(np.ptp(feet))))
    return found


def in_step(one: Numbers, other: Numbers) -> bool:
    """Whether two paths, each without its straight line, rise and fall together."""
    lengths = max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return float(one @ other) / lengths >= IN_STEP


def detrended(time_s: Numbers, values: Numbers) -> Numbers:
    """Return what is left of `values` without their straight line over time."""
    return np.asarray(values - np.polyval(np.polyfit(time_s, values, 1), time_s), dtype=np.float64)
