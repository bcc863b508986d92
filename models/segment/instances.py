"""From one frame's soft mask to one mask a character."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SCRAP_SHARE = 0.04  # of a character's largest part: less is a speck
FAINTEST = 16  # of 255: a fainter edge only widens the box
HUE_BINS, SATURATION_BINS = 18, 6


@dataclass(frozen=True)
class Detection:
    """What the network sees of one character in one frame."""

    probability: NDArray[np.float32]  # (H, W), over the whole frame
    core: NDArray[np.bool_]  # (H, W), the connected part that is this character
    score: float


@dataclass(frozen=True)
class Instance:
    """One character in one frame, before it belongs to a track."""

    alpha: NDArray[np.uint8]  # (H, W)
    score: float
    colours: NDArray[np.int64]  # (H, W) the bin of each pixel's hue and saturation; shared within a frame

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels (H, W) that are the character's."""
        return np.asarray(self.alpha >= 128)  # noqa: PLR2004

    def histogram(self) -> NDArray[np.float64]:
        """Return the shares of hue and saturation within the mask, summing to one."""
        count = np.bincount(self.colours[self.mask], minlength=HUE_BINS * SATURATION_BINS)
        return np.asarray(count / max(1, count.sum()))


def cut_instances(
    frame: NDArray[np.uint8], alpha: NDArray[np.float32], detections: Sequence[Detection]
) -> list[Instance]:
    """Return one instance a detection: each pixel of `alpha` (H, W) goes to the detection whose core is nearest."""
    if not detections:
        return []
    away = [cv2.distanceTransform((~detection.core).astype(np.uint8), cv2.DIST_L2, 3) for detection in detections]
    owner = np.argmin(away, axis=0)
    colours = colour_bins(frame)
    instances = []
    for number, detection in enumerate(detections):
        own = _without_specks(np.where(owner == number, alpha, 0), detection.core)
        if (own >= 128).any():  # noqa: PLR2004
            instances.append(Instance(own, detection.score, colours))
    return instances


def colour_bins(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the hue and saturation bin (H, W) of each pixel of an RGB frame."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(np.int64)
    bins = hsv[..., 0] * HUE_BINS // 180 * SATURATION_BINS + hsv[..., 1] * SATURATION_BINS // 256
    return np.asarray(bins)


def _without_specks(alpha: NDArray[np.float32], core: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return alpha as uint8 without parts far smaller than the main one or away from the core, pinholes filled."""
    solid = (alpha > 0.5).astype(np.uint8)  # noqa: PLR2004
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    areas = stats[:, cv2.CC_STAT_AREA]
    least = SCRAP_SHARE * max(areas[1:], default=0)
    kept = np.zeros_like(solid)
    for label in range(1, count):
        part = labels == label
        if areas[label] >= least and core[part].any():
            kept[part] = 1
    holes, labels, stats, _ = cv2.connectedComponentsWithStats(1 - kept, connectivity=4)
    pinhole = 0.0003 * alpha.size
    filled = alpha.copy()
    for label in range(1, holes):
        if stats[label, cv2.CC_STAT_AREA] < pinhole:
            filled[labels == label] = 1
            kept[labels == label] = 1
    edge = cv2.dilate(kept, np.ones((5, 5), np.uint8))
    rounded: NDArray[np.uint8] = np.round(255 * filled * edge).astype(np.uint8)
    rounded[rounded < FAINTEST] = 0
    rounded[(kept == 0) & (rounded >= 128)] = 127  # noqa: PLR2004
    rounded[(kept > 0) & (rounded < 128)] = 128  # noqa: PLR2004
    return rounded
