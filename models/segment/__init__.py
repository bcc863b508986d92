"""Which pixels of a shot belong to which character: one protocol, and its backends by their config names.

| name     | backend                                                                 | weights                        |
|----------|-------------------------------------------------------------------------|--------------------------------|
| `selfie` | MediaPipe's selfie segmentation on frame, tiles and crops, sharpened by | `mediapipe` (PyPI), Apache-2.0 |
|          | the shot's own colours; TFLite on the CPU, 0.1 s a frame                |                                |
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backend_names import require_known

Image = NDArray[np.uint8]
SEGMENTERS = ("selfie",)


@dataclass(frozen=True)
class TrackMask:
    """One character in one frame of a shot."""

    index: int  # position of the frame in the sequence given
    track: int  # 0.. within the shot, stable over its frames
    alpha: NDArray[np.uint8]  # (H, W) 0..255 with a soft edge; 128 and more is the character
    score: float  # 0..1, how sure and how stable the network is


class Segmenter(Protocol):
    """Finds the characters of a shot and follows each of them through it."""

    def segment_shot(self, frames: Sequence[Image]) -> Iterator[TrackMask]:
        """Yield the masks of one shot in order of frame and track; a shot without characters yields nothing.

        `frames` are (H, W, 3) RGB uint8 of one size in time order, about three a second.
        """
        ...


def load_segmenter(name: str) -> Segmenter:
    """Return the segmenter called `name` in the configuration.

    Raises:
        ValueError: no backend has this name.
        MissingWeights: the backend's model files are not installed.
    """
    require_known("segmenter", name, SEGMENTERS)
    from models.segment.selfie import SelfieSegmenter  # noqa: PLC0415

    return SelfieSegmenter()
