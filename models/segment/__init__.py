"""Which pixels of a shot belong to which character: one protocol, and its backends by their config names.

| name             | backend                                                             | weights                     |
|------------------|---------------------------------------------------------------------|-----------------------------|
| `selfie`         | MediaPipe's selfie segmentation on frame, tiles and crops,          | `mediapipe` (PyPI),         |
|                  | sharpened by the shot's own colours and scenery; TFLite on the CPU, | Apache-2.0                  |
|                  | 0.2 s/frame                                                         |                             |
| `sam2-tiny`      | SAM 2.1, prompted by a detector of `detect/` in a few frames and    | Hugging Face, Apache-2.0,   |
| `sam2-small`     | propagated through the shot in both directions; the sizes differ in | 156, 184, 323 and 898 MB    |
| `sam2-base-plus` | their image encoders alone                                          |                             |
| `sam2-large`     |                                                                     |                             |
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.weights import HubModel, PackagedFile

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class TrackMask:
    """One character in one frame of a shot."""

    index: int  # position of the frame in the sequence given
    track: int  # 0.. within the shot, stable over its frames
    alpha: NDArray[np.uint8]  # (H, W) 0..255 with a soft edge; 128 and more is the character
    score: float  # 0..1, how sure and how stable the network is
    depth: int = 0  # how many of the frame's other characters cover it; 0 is in front, or not known


class Segmenter(Protocol):
    """Finds the characters of a shot and follows each of them through it."""

    def segment_shot(self, frames: Sequence[Image]) -> Iterator[TrackMask]:
        """Yield the masks of one shot in order of frame and track; a shot without characters yields nothing.

        `frames` are (H, W, 3) RGB uint8 of one size in time order, about three a second.
        """
        ...


def _selfie(detector: str | None = None, words: Sequence[str] = ()) -> Segmenter:  # noqa: ARG001
    """Return the segmenter that needs no detector: it knows what a person looks like."""
    from models.segment.selfie import SelfieSegmenter  # noqa: PLC0415

    return SelfieSegmenter()


def _sam2(model: HubModel, detector: str | None = None, words: Sequence[str] = ()) -> Segmenter:
    from models.segment.detect import load_detector  # noqa: PLC0415
    from models.segment.sam2 import Sam2Segmenter  # noqa: PLC0415

    return Sam2Segmenter(model.path(), load_detector(detector, tuple(words)) if detector else None)


def _sam2_model(size: str, revision: str, megabytes: float) -> HubModel:
    return HubModel(f"facebook/sam2.1-hiera-{size}", revision, "Apache-2.0", megabytes)


SELFIE_SQUARE, SELFIE_WIDE = (
    PackagedFile("mediapipe", f"mediapipe/modules/selfie_segmentation/{file}", "Apache-2.0", 0.25)
    for file in ("selfie_segmentation.tflite", "selfie_segmentation_landscape.tflite")
)
SAM2 = {
    "sam2-tiny": _sam2_model("tiny", "de431c4043854a71d8101e17995dfe596bf101a5", 155.9),
    "sam2-small": _sam2_model("small", "ee5bba1d82bb8749febdf90f45e84b687142ba03", 184),
    "sam2-base-plus": _sam2_model("base-plus", "b7320756a13354e7530a63935656d35b2f91a290", 323),
    "sam2-large": _sam2_model("large", "665f8e2ad61cf5f53d65644ff27c8ee525124610", 898),
}
SEGMENTERS: Backends[Segmenter] = Backends(
    "segmenter",
    {
        "selfie": Backend(_selfie, (SELFIE_SQUARE, SELFIE_WIDE)),
        **{name: Backend(partial(_sam2, model), (model,)) for name, model in SAM2.items()},
    },
)
"""Made from a detector's name or None, and what it looks for; backends that need no detector ignore both."""
