"""Numbers that say whether a frame is worth keeping."""

import cv2
import imagehash
import numpy as np
from PIL import Image

from models.pictures import Picture

SHARPNESS_WIDTH = 512
TEXT_WIDTH = 480  # pixels at which text is looked for; the heights below are in this scale
LINE_HEIGHT = (4, 22)
MARK_CONTRAST = 40
MIN_LINES = 2
MIN_LINE_LENGTHS = 0.3  # of the picture's width, all lines together
MIN_TEXT_SHARE = 0.25


def sharpness(rgb: Picture, alpha: Picture | None = None) -> float:
    """Return the variance of the Laplacian of luma, of the whole picture or inside `alpha` >= 128.

    Pictures are compared at a width of 512 pixels, so that the number does not depend on the film's size
    (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000).
    """
    scale = SHARPNESS_WIDTH / rgb.shape[1]
    size = (SHARPNESS_WIDTH, max(1, round(rgb.shape[0] * scale)))
    grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    if alpha is None:
        return float(laplacian.var())
    inside = cv2.erode(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.ones((5, 5), np.uint8)) >= 128  # noqa: PLR2004
    return float(laplacian[inside].var()) if inside.any() else 0.0


def brightness(rgb: Picture) -> float:
    """Return the mean luma, 0..255."""
    return float(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).mean())


def perceptual_hash(rgb: Picture) -> str:
    """Return the 64-bit DCT hash of a picture as 16 hexadecimal digits (pHash, Zauner 2010)."""
    return str(imagehash.phash(Image.fromarray(rgb)))


def hash_distance(one: str, other: str) -> int:
    """Return the number of differing bits of two hashes."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def is_text_card(rgb: Picture) -> bool:
    """Tell whether a frame is a title card or credits: most of its sharp marks join to lines of text.

    Marks are joined along the line; a line is wide, low and well filled. In story frames of two animated films such
    lines held at most .06 of the marks, on title cards and credits .28 to 1.
    """
    size = (TEXT_WIDTH, max(1, round(rgb.shape[0] * TEXT_WIDTH / rgb.shape[1])))
    grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    marks = cv2.morphologyEx((edges > MARK_CONTRAST).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(marks)
    width, height, area = stats[1:, 2], stats[1:, 3], stats[1:, 4]
    lowest, highest = LINE_HEIGHT
    lines = (width > 1.5 * height) & (height >= lowest) & (height <= highest) & (area > 0.5 * width * height)
    lengths = width[lines].sum() / TEXT_WIDTH
    share = area[lines].sum() / max(1, area.sum())
    return bool(lines.sum() >= MIN_LINES and lengths >= MIN_LINE_LENGTHS and share >= MIN_TEXT_SHARE)
