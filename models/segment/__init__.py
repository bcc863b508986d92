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

from models.backends import Backend, Backends
from models.weights import PackagedFile

Image = NDArray[np.uint8]


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


def _selfie() -> Segmenter:
    from models.segment.selfie import SelfieSegmenter  # noqa: PLC0415

    return SelfieSegmenter()


SELFIE_SQUARE, SELFIE_WIDE = (
    PackagedFile("mediapipe", f"mediapipe/modules/selfie_segmentation/{file}", "Apache-2.0", 0.25)
    for file in ("selfie_segmentation.tflite", "selfie_segmentation_landscape.tflite")
)
SEGMENTERS: Backends[Segmenter] = Backends("segmenter", {"selfie": Backend(_selfie, (SELFIE_SQUARE, SELFIE_WIDE))})
