"""A sharper mask from the shot's own colours, and from what its other frames show behind a character.

The network is sure inside and vague at the edge. What it is sure of, over all frames of the shot, says which colours
are the characters' and which the background's around them; their log-likelihood ratio is added to the network's
logit, that of `ground` too, and a guided filter (He, Sun, Tang, "Guided Image Filtering", 2010) snaps the result to
the picture's edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Image, Map
from models.registration.masks import extent

BINS = 16
FLOOR = 3e-5  # share of pixels below which a colour says nothing
SURE, SURE_NOT = 0.8, 0.15
COLOUR_WEIGHT = 1.5
GROUND_WEIGHT = 3.0  # where the scenery is known it outweighs colours, which a lamp may share with hair
PLAIN = 1.5  # nats of the ground, beyond which a character is where the network sees nothing
MAX_EVIDENCE = 3.0  # nats a pixel's colour may say against the network
ROUNDS = 2  # the second learns its colours from the first's masks
EDGE_SHARE = 0.0104  # of the height: 3 px at 288
NEAR_SHARE = 0.104  # how far around a character its background is learnt
EPSILON = 1e-3
MAX_CHANGE = 0.6  # least IoU of the sharpened mask with the network's

Probability = NDArray[np.float32]


@dataclass(frozen=True)
class ColourModel:
    """Log-likelihood ratio, character over background, of each of BINS**3 Lab colours."""

    log_ratio: NDArray[np.float64]

    @classmethod
    def of_shot(cls, frames: Sequence[Image], probabilities: Sequence[Probability]) -> "ColourModel":
        """Learn the colours of a shot from its frames and the network's probabilities (H, W)."""
        model = cls(np.zeros(BINS**3))
        bins = [_bins(frame) for frame in frames]
        for round_ in range(ROUNDS):
            inside, outside = np.zeros((2, BINS**3))
            for frame, index, probability in zip(frames, bins, probabilities, strict=True):
                if not probability.any():
                    continue
                certain = probability if round_ == 0 else sharpen(frame, probability, model)
                near = _near(probability)
                inside += np.bincount(index[certain > SURE], minlength=BINS**3)
                outside += np.bincount(index[near & (certain < SURE_NOT)], minlength=BINS**3)
            model = cls(np.log((_smooth(inside) + FLOOR) / (_smooth(outside) + FLOOR)))
        return model

    def evidence(self, frame: Image) -> NDArray[np.float64]:
        """Return (H, W) nats, positive where the colour is the characters', within +-MAX_EVIDENCE."""
        return np.clip(self.log_ratio[_bins(frame)], -MAX_EVIDENCE, MAX_EVIDENCE)


def sharpen(frame: Image, probability: Probability, colours: ColourModel, ground: Map | None = None) -> Probability:
    """Return the probability (H, W) corrected by colour and `ground` (H, W), and snapped to the edges of `frame`.

    Where colours tell so little that the mask would change beyond recognition (a grey animal before grey clouds), they
    are left out; where the ground does too (a camera that pans unevenly), only the edges are snapped.
    """
    ground = np.zeros_like(probability) if ground is None else ground
    near = _near(probability)
    if not near.any():
        return np.zeros_like(probability)
    window = extent(near)
    frame, part, near, ground = np.ascontiguousarray(frame[window]), probability[window], near[window], ground[window]
    colour = colours.evidence(frame)
    bounded = np.clip(part, 0.01, 0.99)
    logit = np.log(bounded / (1 - bounded))
    allowed = (near & ((part > 0.02) | (ground > PLAIN))) | (part > 0.3)  # noqa: PLR2004
    radius = max(2, round(EDGE_SHARE * probability.shape[0]))
    for by_colour, by_ground in ((COLOUR_WEIGHT, GROUND_WEIGHT), (0.0, GROUND_WEIGHT), (0.0, 0.0)):
        posterior = 1 / (1 + np.exp(-(logit + by_colour * colour + by_ground * ground)))
        snapped = _guided_filter(frame, np.where(allowed, posterior, 0).astype(np.float32), radius)
        if _iou(snapped > 0.5, part > 0.5) >= MAX_CHANGE:  # noqa: PLR2004
            break
    sharpened = np.zeros_like(probability)
    sharpened[window] = np.clip(snapped, 0, 1)
    return sharpened


def _near(probability: Probability) -> NDArray[np.bool_]:
    reach = 2 * round(NEAR_SHARE * probability.shape[0]) + 1
    grown = cv2.dilate((probability > 0.3).astype(np.uint8), np.ones((reach, reach), np.uint8))  # noqa: PLR2004
    return np.asarray(grown > 0)


def _bins(frame: Image) -> NDArray[np.int64]:
    """Return the colour bin (H, W) of each pixel; a and b are taken from -64 to 64, where rendered colours lie."""
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB).astype(np.int64)
    a, b = (np.clip((lab[..., channel] - 64) // 8, 0, BINS - 1) for channel in (1, 2))
    return np.asarray((lab[..., 0] // 16 * BINS + a) * BINS + b)


def _smooth(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shares of 1 (BINS**3,), each bin blurred a little into its neighbours."""
    cube = np.asarray(counts.reshape(BINS, BINS, BINS))
    kernel = cv2.getGaussianKernel(5, 0.7)
    for axis in range(3):
        rows = np.moveaxis(cube, axis, 0).reshape(BINS, -1)
        blurred = np.asarray(cv2.filter2D(rows, -1, kernel, borderType=cv2.BORDER_CONSTANT), np.float64)
        cube = np.moveaxis(blurred.reshape(BINS, BINS, BINS), 0, axis)
    return np.asarray(cube.ravel() / max(cube.sum(), 1.0))


def _guided_filter(guide: Image, mask: Probability, radius: int) -> Probability:
    """Return `mask` as a locally linear function of the colours of `guide` (H, W, 3)."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(values: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(values, -1, size, borderType=cv2.BORDER_REFLECT), np.float32)

    picture = guide.astype(np.float32) / 255
    centre, level = mean(picture), mean(mask)
    covariance = mean(picture * mask[..., None]) - centre * level[..., None]
    outer = (picture[..., :, None] * picture[..., None, :]).reshape(*mask.shape, 9)
    spread = np.concatenate([mean(np.ascontiguousarray(outer[..., k : k + 3])) for k in (0, 3, 6)], axis=-1)
    spread = spread.reshape(*mask.shape, 3, 3) - centre[..., :, None] * centre[..., None, :] + EPSILON * np.eye(3)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0].astype(np.float32)
    offset = level - (slope * centre).sum(axis=-1)
    return np.asarray((mean(slope) * picture).sum(axis=-1) + mean(offset), np.float32)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
