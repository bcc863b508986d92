"""Pictures as networks were taught to see them: of mean zero and deviation one over all that they learnt from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ColourScale:
    """Mean and standard deviation of RGB in 0..1 over the pictures that a network was taught by."""

    mean: Triple
    deviation: Triple


IMAGENET = ColourScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""ImageNet's as torchvision made them customary: DINOv2, Grounding DINO, HSEmotion, RTMPose, SAM 2, ViTPose."""
CLIP = ColourScale((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Those of the pictures that CLIP learnt from: OWLv2 too."""

HALVES = ColourScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""-1 to 1: SAM 3, SigLIP."""


def normalise_picture(picture: NDArray[np.uint8], scale: ColourScale) -> NDArray[np.float32]:
    """Return an `(h, w, 3)` RGB uint8 picture as `(3, h, w)` float32: 0..1 less the mean, over the deviation."""
    mean, deviation = np.array(scale.mean, np.float32), np.array(scale.deviation, np.float32)
    normal = (picture.astype(np.float32) / 255.0 - mean) / deviation
    return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
