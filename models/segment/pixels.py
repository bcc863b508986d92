"""Frames as networks want them: resized, scaled and normalised without the image processors that need torchvision."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from models.normalise import ColourScale, normalise_picture
from models.segment import Image

Pixels = NDArray[np.float32]


def to_pixels(image: Image, size: tuple[int, int], scale: ColourScale) -> Pixels:
    """Return `(3, height, width)` float32 of an `(H, W, 3)` RGB uint8 picture, squeezed to `size` (height, width).

    Bilinear with a support that grows when the picture shrinks, as Pillow does it: each side for itself.
    """
    resized = PilImage.fromarray(image).resize((size[1], size[0]), PilImage.Resampling.BILINEAR)
    return normalise_picture(np.asarray(resized), scale)


def fit(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """Return `size` (height, width) scaled so that its shorter side is `shortest`, or its longer one `longest`."""
    scale = min(shortest / min(size), longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
