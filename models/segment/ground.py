"""What the other frames of a shot show where a character is: who he is differs from it, and what stays is not he.

The scenery behind each pixel is the median of the frames, laid over one another, in which nobody is there (background
subtraction). A pixel that looks like it is the scenery's, however like a person the network finds it: a lamp post
that somebody walks past. A pixel that does not is the character's, but in his shadow, of which nothing is said. Of
what nobody uncovers in the whole shot, nothing is known.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from models.registration import Hole, Image, Map
from models.registration.alignment import Features, find_features, find_homography, spread
from models.registration.likeness import largest_channel, soften
from models.registration.masks import dilate, extent, size_at, touched, wider
from models.registration.samples import median_of
from models.registration.shading import shading_of
from models.segment.colours import NEAR_SHARE

HEIGHT = 288
"""Pixels of a frame's height at which scenery is compared; edges are found afterwards, in the frame itself."""
MOST_NEIGHBOURS = 16
LEAST_NEIGHBOURS = 2
"""Frames that must show the scenery; one may show a character that the network missed."""
RIM_AT_720P = 5
"""How far around a character he may still be seen."""
NOISE, DIFFERENT = 4.0, 60.0
"""Grey levels that the same thing differs by in two frames, and a character from what is behind him: means of
exponential distributions."""
MISTAKEN = 0.02
"""Share of the scenery's pixels that differ in any way all the same."""
MAX_EVIDENCE = 6.0
"""Nats."""


def ground_evidence(frames: Sequence[Image], characters: Sequence[Hole]) -> Iterator[Map]:
    """Yield for each frame (H, W, 3) of a shot what its scenery says: nats (H, W), positive where it is a character.

    `characters` (H, W) is where the network sees one; nothing is said of a frame without any, nor where fewer than
    `LEAST_NEIGHBOURS` other frames show the scenery.
    """
    height, width = frames[0].shape[:2]
    size = size_at(HEIGHT, (height, width))
    small = [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8) for frame in frames]
    holes = [dilate(touched(hole, size), RIM_AT_720P) for hole in characters]
    features = [find_features(frame, hole) for frame, hole in zip(small, holes, strict=True)]
    for index, hole in enumerate(holes):
        said = _said(index, small, holes, features) if hole.any() else np.zeros(size[::-1], np.float32)
        yield np.asarray(cv2.resize(said, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _said(index: int, frames: Sequence[Image], holes: Sequence[Hole], features: Sequence[Features]) -> Map:
    """Return the nats (h, w) for frame `index`."""
    size, said = holes[index].shape[::-1], np.zeros(holes[index].shape, np.float32)
    window = wider(extent(holes[index]), round(NEAR_SHARE * size[1]), said.shape)
    samples, seen = [], []
    for other in spread(index, len(frames), MOST_NEIGHBOURS):
        matrix = find_homography(features[other], features[index])
        if matrix is not None:
            hidden = holes[other].astype(np.uint8)
            samples.append(cv2.warpPerspective(frames[other], matrix, size)[window])
            seen.append(cv2.warpPerspective(hidden, matrix, size, flags=cv2.INTER_NEAREST, borderValue=1)[window] == 0)
    if len(samples) < LEAST_NEIGHBOURS:
        return said
    pixels, shown = np.array(samples, np.float32), np.array(seen)
    ground = median_of(pixels, shown)
    unsteady = median_of(largest_channel(np.abs(pixels - ground))[..., None], shown)[..., 0]
    nats = _compared(soften(frames[index][window]), soften(ground.round().astype(np.uint8)), unsteady)
    said[window] = np.where(shown.sum(axis=0) >= LEAST_NEIGHBOURS, nats, 0)
    return said


def _compared(image: Image, ground: Image, unsteady: Map) -> Map:
    """Return the nats (h, w) that `image` is not its `ground`, of which frames differ by `unsteady` grey levels."""
    apart = _nearest(image, ground)
    noise = NOISE + unsteady
    scenery = (1 - MISTAKEN) * np.exp(-apart / noise) / noise + MISTAKEN / 255
    nats = np.log(np.exp(-apart / DIFFERENT) / DIFFERENT / scenery)
    shading = shading_of(image, ground)
    shadow = shading.like_shadow & (shading.light < 1)
    return np.asarray(np.minimum(nats, np.where(shadow, 0, MAX_EVIDENCE)), np.float32)


def _nearest(image: Image, ground: Image) -> Map:
    """Return how far apart (h, w) both are in grey levels, shifted by a pixel at best: nothing is laid to the pixel."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(ground, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    shifts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(np.min([largest_channel(cv2.absdiff(image, shift)) for shift in shifts], axis=0), np.float32)
