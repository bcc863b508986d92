"""Frames as networks want them: resized, scaled and normalised without the image processors that need torchvision."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from models.segment import Image

Pixels = NDArray[np.float32]
Colour = tuple[float, float, float]

IMAGENET: tuple[Colour, Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of RGB in 0..1: SAM 2 and Grounding DINO."""
CLIP: tuple[Colour, Colour] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""The same for CLIP's pictures: OWLv2."""


def to_pixels(image: Image, size: tuple[int, int], colours: tuple[Colour, Colour]) -> Pixels:
    """Return `(3, height, width)` float32 of an `(H, W, 3)` RGB uint8 picture, squeezed to `size` (height, width).

    Bilinear with a support that grows when the picture shrinks, as Pillow does it: each side for itself.
    """
    resized = PilImage.fromarray(image).resize((size[1], size[0]), PilImage.Resampling.BILINEAR)
    mean, deviation = (np.array(values, np.float32) for values in colours)
    scaled = (np.asarray(resized, np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def fit(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """Return `size` (height, width) scaled so that its shorter side is `shortest`, or its longer one `longest`."""
    scale = min(shortest / min(size), longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
