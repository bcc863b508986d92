"""Lay one frame of a shot over another: SIFT matches outside the holes and one homography.

A camera that stands still is recognised and gives the identity, so that its pixels are copied and never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RATIO = 0.75  # Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", 2004, section 7.1
REPROJECTION_PX = 2.0
MIN_INLIERS = 12
MIN_INLIER_SHARE = 0.4
STATIC_PX = 0.35  # below this the fit is noise around a camera that does not move
CONTRAST_THRESHOLD = 0.02  # half of OpenCV's: rendered walls and skies are smooth


@dataclass(frozen=True)
class Features:
    """Keypoints of one frame outside its hole: `points` (n, 2) float32 x, y; `descriptors` (n, 128) float32."""

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]


@cache
def _sift() -> Any:  # noqa: ANN401  OpenCV ships no type for it
    return cv2.SIFT.create(nfeatures=1200, contrastThreshold=CONTRAST_THRESHOLD)


def find_features(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Features:
    """Return the SIFT features of `image` (H, W, 3) RGB uint8 that lie outside `hole` (H, W) bool."""
    outside = np.where(hole, 0, 255).astype(np.uint8)
    keypoints, descriptors = _sift().detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), outside)
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    points = np.array([point.pt for point in keypoints], np.float32).reshape(-1, 2)
    return Features(points, descriptors)


def find_homography(source: Features, target: Features) -> NDArray[np.float64] | None:
    """Return the (3, 3) homography that takes `source` to `target`, or None where the frames do not fit.

    None is given for too few matches, too few inliers, a median reprojection error of more than a pixel, or a map
    that mirrors or more than doubles the picture.
    """
    if min(len(source.points), len(target.points)) < MIN_INLIERS:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(source.descriptors, target.descriptors, k=2)
    kept = [best for best, second in pairs if best.distance < RATIO * second.distance]
    if len(kept) < MIN_INLIERS:
        return None
    start = source.points[[match.queryIdx for match in kept]]
    end = target.points[[match.trainIdx for match in kept]]
    shifts = np.linalg.norm(start - end, axis=1)
    if np.median(shifts) < STATIC_PX and np.mean(shifts < 2 * STATIC_PX) > MIN_INLIER_SHARE:
        return np.eye(3)
    return _fit(start, end)


def _fit(start: NDArray[np.float32], end: NDArray[np.float32]) -> NDArray[np.float64] | None:
    cv2.setRNGSeed(1)
    matrix, inliers = cv2.findHomography(start, end, cv2.USAC_MAGSAC, REPROJECTION_PX, maxIters=2000, confidence=0.999)
    if matrix is None or inliers.sum() < max(MIN_INLIERS, MIN_INLIER_SHARE * len(start)):
        return None
    chosen = inliers[:, 0] > 0
    moved = cv2.perspectiveTransform(start[chosen][None], matrix)[0]
    area = np.linalg.det(matrix[:2, :2])
    if np.median(np.linalg.norm(moved - end[chosen], axis=1)) > 1.0 or not 0.5 < area < 2.0:  # noqa: PLR2004
        return None
    return np.asarray(matrix, np.float64)


def spread(index: int, count: int, most: int) -> Sequence[int]:
    """Return up to `most` indices below `count`, evenly spread over the shot and without `index`."""
    others = [other for other in range(count) if other != index]
    if len(others) <= most:
        return others
    steps = np.linspace(0, len(others) - 1, most).round().astype(int)
    return [others[step] for step in steps]
