"""The exact masks of the sample film, as what a network that knows the truth would see."""

import cv2
import numpy as np

from models.segment.layering import Sighting
from tests.models.sample_film import FILM, frames

LUCA, GIA = 20, 40
SIZE = (288, 512)


def true_mask(number):
    return cv2.imread(str(FILM / "masks" / f"{number:06d}.png"), cv2.IMREAD_GRAYSCALE)


def sighting(mask, sure=8.0):
    """Return what a network that knows the truth would see, at half the size."""
    small = cv2.resize(mask.astype(np.float32), (256, 144), interpolation=cv2.INTER_AREA)
    return Sighting((2 * sure * small - sure).astype(np.float32), 0.98)


def pair_masks():
    """Return the true masks of the shot with two characters, by frame."""
    return [{value: true_mask(number) == value for value in (LUCA, GIA)} for number in frames(4)]
