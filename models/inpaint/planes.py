"""Lay a frame of another shot over this one: one homography for each plane that both show.

Two cameras in different spots are related by a homography for each plane of the scene (Hartley and Zisserman,
"Multiple View Geometry", 2nd edition, section 13.1). The planes are found one after another, each from the matches
that the last ones left (sequential RANSAC), and each is fitted again to dense optical flow (Kroeger et al., "Fast
Optical Flow using Dense Inverse Search", 2016), which also speaks where SIFT is silent.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Hole, Image
from models.registration.alignment import Features

Homography = NDArray[np.float64]
Flow = Literal["coarse", "fine"]
FLOWS: Mapping[Flow, int] = {"coarse": 1, "fine": 0}
"""Optical flows by how often the picture is halved where they end; they err in different places."""

RATIO = 0.85  # looser than within a shot: parallax and zoom cost matches, and the picture itself is the judge
REPROJECTION_PX = 3.0
MIN_INLIERS = 6
MOST_PLANES = 4
AREAS = (0.05, 20.0)  # of a pixel after the move: a portrait is up to 3 times closer than a full figure
FLOW_STEP = 3  # pixels between two samples of the flow
FLOW_CONTRAST = 12  # grey levels; flow says nothing about a bare wall
MIN_FLOW_SAMPLES = 40


def find_planes(source: Features, target: Features, at: tuple[float, float]) -> list[Homography]:
    """Return up to `MOST_PLANES` (3, 3) homographies from `source` to `target`, best supported first.

    A map that mirrors the picture, or shrinks or enlarges it beyond `AREAS` at the point `at` (x, y) of the target,
    is left out.
    """
    if min(len(source.points), len(target.points)) < MIN_INLIERS:
        return []
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(source.descriptors, target.descriptors, k=2)
    kept = [best for best, second in pairs if best.distance < RATIO * second.distance]
    start = source.points[[match.queryIdx for match in kept]].reshape(-1, 2)
    end = target.points[[match.trainIdx for match in kept]].reshape(-1, 2)
    return [matrix for matrix in _sequential(start, end, MIN_INLIERS) if is_plausible(matrix, at)]


def _sequential(start: NDArray[np.float32], end: NDArray[np.float32], least: int) -> Iterator[Homography]:
    for _ in range(MOST_PLANES):
        if len(start) < least:
            return
        cv2.setRNGSeed(1)
        matrix, inliers = cv2.findHomography(
            start, end, cv2.USAC_MAGSAC, REPROJECTION_PX, maxIters=3000, confidence=0.999
        )
        if matrix is None or inliers.sum() < least:
            return
        yield np.asarray(matrix, np.float64)
        start, end = start[inliers[:, 0] == 0], end[inliers[:, 0] == 0]


def is_plausible(matrix: Homography, at: tuple[float, float]) -> bool:
    """Tell whether `matrix` neither mirrors nor enlarges beyond `AREAS` around the point `at` (x, y) of its target."""
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:  # noqa: PLR2004
        return False
    corners = np.array([[at, (at[0] + 1, at[1]), (at[0], at[1] + 1)]], np.float64)
    origin, right, down = cv2.perspectiveTransform(corners, np.linalg.inv(matrix))[0]
    area = float(np.linalg.det(np.stack([right - origin, down - origin])))
    return 1 / AREAS[1] < area < 1 / AREAS[0]


def move(image: Image, hole: Hole, matrix: Homography, size: tuple[int, int]) -> tuple[Image, Hole]:
    """Return `image` moved by `matrix` into a picture of `size` (width, height), and where it is seen."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if scale < 0.7:  # noqa: PLR2004  what shrinks is blurred first, or its edges come out jagged
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / scale), np.uint8)
    moved = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_CUBIC)
    hidden = cv2.warpPerspective(hole.astype(np.uint8) * 255, matrix, size, borderValue=255)
    return np.asarray(moved, np.uint8), np.asarray(hidden == 0)


@cache
def _flow(kind: Flow) -> Any:  # noqa: ANN401  OpenCV ships no type for it
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(FLOWS[kind])
    return flow


def flow_between(image: Image, moved: Image, near: Hole, kind: Flow = "coarse") -> NDArray[np.float32]:
    """Return the flow (H, W, 2) in pixels from `image` to `moved`; of meaning where `near` (H, W) holds."""
    grey = cv2.cvtColor(np.where(near[..., None], image, moved), cv2.COLOR_RGB2GRAY)
    return np.asarray(_flow(kind).calc(grey, cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), None), np.float32)


def refit(moved: Image, image: Image, near: Hole, kind: Flow = "coarse") -> list[Homography]:
    """Return homographies that take `moved` still closer to `image`, fitted where both are seen and `near` holds."""
    flow = flow_between(image, moved, near, kind)
    grey = cv2.cvtColor(np.where(near[..., None], image, moved), cv2.COLOR_RGB2GRAY)
    contrast = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    lattice = np.zeros_like(near)
    lattice[::FLOW_STEP, ::FLOW_STEP] = True
    ys, xs = np.nonzero(near & lattice & (contrast > FLOW_CONTRAST))
    if len(ys) < MIN_FLOW_SAMPLES:
        return []
    end = np.stack([xs, ys], axis=1).astype(np.float32)
    return list(_sequential(end + flow[ys, xs], end, max(MIN_FLOW_SAMPLES, len(ys) // 6)))
