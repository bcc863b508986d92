"""Depth behind a character, from how the frames of a moving camera are shifted against one another.

A homography brings one plane of two frames together; what lies before or behind it stays apart, by as much as the
camera has moved times a depth of the point (plane and parallax: Irani, Anandan and Weinshall, "From reference frames
to reference planes", 1998). What is visible around a hole tells the cameras: each takes a point's place and depth to
its own frame, and depths and cameras are found in turns (Sturm and Triggs, "A factorization based algorithm for
multi-image projective structure and motion", 1996, in the simple form that needs no calibration). Inside the hole the
depth is taken at which the frames show the same colour (plane sweeping: Collins, "A space-sweep approach to true
multi-image matching", 1996).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inpaint.planes import FLOW_CONTRAST, FLOW_STEP, MIN_FLOW_SAMPLES, Flow, flow_between
from models.registration import Hole, Image, Map
from models.registration.likeness import CUT, contrast, largest_channel, soften
from models.registration.masks import Window

ROUNDS = 8
INLIERS_PX = (4.0, 1.0)  # of a point to where camera and depth predict it, in the first round and in the last
FITS = 20.0  # grey levels that a point may change on its way along the flow
MIN_FITTING = 0.5  # of a frame's points, or the frame is left out
MIN_RANGE_PX = 1.2  # of the depths; below, one plane is all there is
BEYOND = 0.1  # of the depths seen around the hole: hidden ones may lie as much in front or behind
STEP_PX = 0.5
MOST_DEPTHS = 48
RIDGE = 1e-4  # how far a camera is held to where its frame is laid, in points
LEAST_LEVER = 0.1  # of the camera that moves most; below, a depth is anybody's guess
FAR = 4.0  # times the median length of a flow
NEIGHBOURHOODS = ((1.5, 1.0), (6.0, 0.5))  # pixels (Gaussian sigma) and weight: most neighbours are at one depth
REACH = ((8.0, 1.0), (32.0, 0.05))  # pixels and weight: how visible depths speak for hidden ones
PENALTY, MOST_PENALTY = 0.1, 4.0  # grey levels a pixel of depth from those, where colours leave the choice
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Sightings:
    """Points of a picture, and where n other frames, each laid over it along a plane, show them; all in pixels."""

    points: Numbers  # (k, 2), x and y
    ends: Numbers  # (n, k, 2)
    known: Hole  # (n, k)


@dataclass(frozen=True)
class Parallax:
    """Where frames, each laid over a picture along one plane, show what is off that plane."""

    cameras: Numbers  # (n, 3, 4), from (x, y, 1, depth) in parts of `size`; number (3, 3) is 1
    trusted: Hole  # (n,), which frames fit
    points: Numbers  # (k, 2), the visible points in pixels
    depths: Numbers  # (k,), theirs, in pixels of the frame that moves most
    size: float  # pixels

    def undisplaced(self, frame: int, grid: Map) -> Map:
        """Return homogeneous points (h, w, 3) where frame number `frame` would show `grid` (h, w, 2) on the plane."""
        camera = self.cameras[frame].astype(np.float32)
        return np.asarray(grid / np.float32(self.size) @ camera[:, :2].T + camera[:, 2], np.float32)

    def displaced(self, frame: int, points: Map, depth: Map | np.float32) -> Map:
        """Return in pixels of frame number `frame`, as laid, (h, w, 2), where undisplaced `points` are at `depth`."""
        steps = np.asarray(depth, np.float32) / np.float32(self.size)
        x, y, w = (points[..., axis] + steps * np.float32(self.cameras[frame, axis, 3]) for axis in range(3))
        return np.asarray(cv2.merge([x / w, y / w]) * np.float32(self.size), np.float32)

    def worth_trying(self) -> Numbers:
        """Return depths (m,) that cover what is visible and a little more."""
        low, high = np.percentile(self.depths, (2, 98))
        margin = BEYOND * (high - low) + STEP_PX
        return np.linspace(low - margin, high + margin, int(min(MOST_DEPTHS, np.ceil((high - low) / STEP_PX + 2))))


def follow(image: Image, laid: Sequence[Image], near: Sequence[Hole], flow: Flow = "coarse") -> Sightings:
    """Follow points at edges of `image` (H, W, 3) by optical `flow` into frames `laid` over it, where `near` (H, W)."""
    lattice = np.zeros_like(near[0])
    lattice[::FLOW_STEP, ::FLOW_STEP] = True
    ys, xs = np.nonzero(np.logical_or.reduce(near) & lattice & (contrast(image) > FLOW_CONTRAST))
    points, own = np.stack([xs, ys], axis=-1), soften(image)[ys, xs].astype(np.float32)
    ends, known = [], []
    for one, part in zip(laid, near, strict=True):
        ends.append(points + flow_between(image, one, part, flow)[ys, xs])
        there = own
        if len(points):
            there = cv2.remap(soften(one), *_maps(ends[-1][None].astype(np.float32)), cv2.INTER_LINEAR)[0]
        known.append(part[ys, xs] & (np.abs(there - own).max(axis=-1, initial=0) < FITS))
    return Sightings(points.astype(np.float64), np.array(ends, np.float64), np.array(known, np.bool_))


def find_parallax(seen: Sightings, size: float) -> Parallax | None:
    """Return the cameras and depths by alternating least squares, or None where all is one plane, or nothing fits.

    `size`, the larger side of the picture in pixels, keeps the numbers near 1.
    """
    if len(seen.ends) < 2 or seen.known.any(axis=0).sum() < MIN_FLOW_SAMPLES:  # noqa: PLR2004
        return None
    points, ends = seen.points / size, seen.ends / size
    depths, weight = _first_depths(points, ends, seen.known)
    cameras = np.tile(np.eye(3, 4), (len(ends), 1, 1))
    for limit in np.geomspace(*INLIERS_PX, ROUNDS) / size:
        for n in np.flatnonzero(weight.sum(axis=1) >= MIN_FLOW_SAMPLES):
            cameras[n] = _resect(points[weight[n]], depths[weight[n]], ends[n][weight[n]])
        depths, valid = _depths(points, ends, cameras, seen.known)
        reached = np.stack([_project(camera, points, depths) for camera in cameras])
        weight = seen.known & valid & (np.linalg.norm(reached - ends, axis=-1) < limit)
        depths, cameras = _scaled(depths, cameras, float(np.abs(cameras[:, :2, 3]).max()))
    trusted = weight.sum(axis=1) >= np.maximum(MIN_FLOW_SAMPLES, MIN_FITTING * seen.known.sum(axis=1))
    moves = np.linalg.norm(cameras[:, :2, 3] - points.mean(axis=0) * cameras[:, 2:, 3], axis=1)
    depths, cameras = _scaled(depths, cameras, float(moves[trusted].max(initial=0)))
    fitting = valid & (weight[trusted].sum(axis=0) >= np.maximum(2, seen.known[trusted].sum(axis=0) / 2))
    if trusted.sum() < 2 or fitting.sum() < MIN_FLOW_SAMPLES:  # noqa: PLR2004
        return None
    found = Parallax(cameras, trusted, seen.points[fitting], depths[fitting] * size, size)
    return found if np.ptp(np.percentile(found.depths, (2, 98))) >= MIN_RANGE_PX else None


def sweep(parallax: Parallax, laid: Sequence[Image], seen: Sequence[Hole], window: Window) -> Map:
    """Return the depth (h, w) at which the frames `laid` agree best, for each pixel of `window` of the picture."""
    grid, usual = grid_of(window), _usual_depth(parallax, window)
    frames = {
        n: (parallax.undisplaced(n, grid), np.dstack([laid[n], (~seen[n]).astype(np.uint8) * 255]))
        for n in np.flatnonzero(parallax.trusted).tolist()
    }
    best, chosen = np.full(usual.shape, np.inf, np.float32), np.zeros(usual.shape, np.float32)
    for depth in parallax.worth_trying().astype(np.float32):
        total, squares = np.zeros((2, *usual.shape, 3), np.float32)
        count = np.zeros(usual.shape, np.float32)
        for n, (points, picture) in frames.items():
            at = parallax.displaced(n, points, depth)
            found = np.asarray(cv2.remap(picture, *_maps(at), cv2.INTER_LINEAR, borderValue=(0, 0, 0, 255)))
            shown = (found[..., 3] == 0).astype(np.float32)
            pixels = found[..., :3] * shown[..., None]
            total, squares, count = total + pixels, squares + pixels**2, count + shown
        several = np.maximum(count, 1)[..., None]
        variance = largest_channel(squares / several - (total / several) ** 2)
        apart = np.minimum(np.sqrt(np.maximum(variance, 0)), CUT)
        cost = blurred_mean(apart, np.maximum(count - 1, 0), NEIGHBOURHOODS)
        cost += np.minimum(PENALTY * np.abs(usual - depth), MOST_PENALTY)
        better = cost < best
        best[better], chosen[better] = cost[better], depth
    return np.asarray(cv2.medianBlur(chosen, 5), np.float32)


def shown_at(view: Image, hole: Hole, back: Numbers, points: Map) -> tuple[Image, Hole]:
    """Return what `view` shows at `points` (h, w, 2) of a picture it is laid over, (h, w, 3), and where it does.

    `back` (3, 3) takes the picture to the view. Outside the view and in its `hole` nothing is seen.
    """
    at = cv2.perspectiveTransform(points.reshape(1, -1, 2).astype(np.float64), back)
    at = np.asarray(at, np.float32).reshape(points.shape)
    pixels = cv2.remap(view, *_maps(at), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    hidden = cv2.remap(hole.astype(np.uint8) * 255, *_maps(at), cv2.INTER_LINEAR, borderValue=255)
    return np.asarray(pixels, np.uint8), np.asarray(hidden == 0)


def grid_of(window: Window) -> Map:
    """Return x and y (h, w, 2) of the pixels of a window of rows and columns."""
    ys, xs = (np.arange(part.start, part.stop) for part in window)
    return np.asarray(np.stack(np.meshgrid(xs, ys), axis=-1), np.float32)


def _maps(points: Map) -> tuple[Map, Map]:
    """Return x and y (h, w) of `points` (h, w, 2)."""
    return np.ascontiguousarray(points[..., 0]), np.ascontiguousarray(points[..., 1])


def _usual_depth(parallax: Parallax, window: Window) -> Map:
    """Return the mean depth (h, w) of the visible points around each pixel, the nearer the more."""
    depth, there = np.zeros((2, *(part.stop - part.start for part in window)), np.float32)
    xs, ys = (parallax.points - (window[1].start, window[0].start)).astype(int).T
    inside = (xs >= 0) & (ys >= 0) & (xs < depth.shape[1]) & (ys < depth.shape[0])
    depth[ys[inside], xs[inside]], there[ys[inside], xs[inside]] = parallax.depths[inside], 1
    return blurred_mean(depth, there, REACH)


def blurred_mean(values: Map, weight: Map, reaches: Sequence[tuple[float, float]]) -> Map:
    """Return the mean (h, w) of `values` around each pixel, by `weight` and Gaussians of (sigma, worth)."""
    total, share = np.zeros(values.shape, np.float32), np.full(values.shape, 1e-6, np.float32)
    for sigma, worth in reaches:
        total += np.float32(worth) * np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma), np.float32)
        share += np.float32(worth) * np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)
    return np.asarray(total / share, np.float32)


def _first_depths(points: Numbers, ends: Numbers, known: Hole) -> tuple[Numbers, Hole]:
    """Return depths (k,) to begin with, and the (n, k) they may be believed for.

    They are how far the frame that moves most is shifted its way; what is shifted much farther than most is not
    believed.
    """
    lengths = np.where(known, np.linalg.norm(ends - points, axis=-1), 0)
    most = np.array([FAR * np.median(one[part]) if part.any() else 0 for one, part in zip(lengths, known, strict=True)])
    believed = known & (lengths <= most[:, None])
    first = int((lengths * believed).sum(axis=1).argmax())
    flows = (ends[first] - points) * believed[first][:, None]
    way = np.linalg.svd(flows, full_matrices=False)[2][0]
    return flows @ way, believed & believed[first]


def _scaled(depths: Numbers, cameras: Numbers, by: float) -> tuple[Numbers, Numbers]:
    """Return the same in other units of depth: `by` times as many, cameras that move as much less."""
    by = max(by, 1e-6)
    return depths * by, np.concatenate([cameras[..., :3], cameras[..., 3:] / by], axis=-1)


def _resect(points: Numbers, depths: Numbers, ends: Numbers) -> Numbers:
    """Return the camera (3, 4) that takes points (k, 2) at their depths (k,) to `ends` (k, 2), by least squares."""
    known = np.column_stack([points, np.ones(len(points)), depths])
    rows = np.zeros((len(points), 2, 11))
    for axis in (0, 1):
        rows[:, axis, 4 * axis : 4 * axis + 4] = known
        rows[:, axis, 8:] = -ends[:, axis : axis + 1] * known[:, [0, 1, 3]]
    flat, still = rows.reshape(-1, 11), np.delete(np.eye(3, 4).ravel(), 10)
    found = np.linalg.solve(flat.T @ flat + RIDGE * np.eye(11), flat.T @ ends.reshape(-1) + RIDGE * still)
    return np.asarray(np.insert(found, 10, 1.0).reshape(3, 4))


def _depths(points: Numbers, ends: Numbers, cameras: Numbers, known: Hole) -> tuple[Numbers, Hole]:
    """Return the depth (k,) of each point, and whether any camera moves enough to tell it.

    It is the median of what the cameras say, by how much each moves: one that is wrong of a point is outvoted.
    """
    said, levers = np.zeros((2, *known.shape))
    for n, (camera, end) in enumerate(zip(cameras, ends, strict=True)):
        straight = points @ camera[:, :2].T + camera[:, 2]
        lever = camera[:2, 3] - end * camera[2, 3]
        levers[n] = np.linalg.norm(lever, axis=1) * known[n]
        missing = end * straight[:, 2:] - straight[:, :2]
        said[n] = (lever * missing).sum(axis=1) / np.maximum((lever**2).sum(axis=1), LEAST_LEVER**2)
    order = said.argsort(axis=0)
    passed = np.take_along_axis(levers, order, axis=0).cumsum(axis=0)
    middle = (passed >= passed[-1] / 2).argmax(axis=0)
    chosen = np.take_along_axis(order, middle[None], axis=0)
    return np.take_along_axis(said, chosen, axis=0)[0], levers.max(axis=0) > LEAST_LEVER


def _project(camera: Numbers, points: Numbers, depths: Numbers) -> Numbers:
    moved = points @ camera[:, :2].T + camera[:, 2] + depths[:, None] * camera[:, 3]
    return np.asarray(moved[:, :2] / moved[:, 2:])
