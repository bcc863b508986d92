"""The picture of one character on plain grey, as embedders read it."""

import cv2
import numpy as np

from models.embed import Image

BACKGROUND = 127
"""Grey around a character; embedders that count colours leave out pixels of exactly this grey."""


def masked_crop(image: Image, alpha: Image, margin: float = 0.05) -> Image:
    """Return the character alone, centred in a square of plain grey.

    Args:
        image: `(H, W, 3)` RGB uint8.
        alpha: `(H, W)` uint8, 255 inside the character.
        margin: grey border on each side, in sides of the character's box.

    Returns:
        `(side, side, 3)` RGB uint8.

    Raises:
        ValueError: the sizes differ, or `alpha` shows nobody.
    """
    if image.shape[:2] != alpha.shape:
        message = f"image is {image.shape[:2]} and alpha {alpha.shape}: both must be the size of the frame"
        raise ValueError(message)
    rows, columns = np.nonzero((alpha > 127).any(axis=1))[0], np.nonzero((alpha > 127).any(axis=0))[0]  # noqa: PLR2004
    if len(rows) == 0:
        message = "alpha is nowhere above 127: there is no character to crop; drop such layers before embedding"
        raise ValueError(message)
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A hard edge keeps the background exactly grey, and the colours of the old background out.
    inside = (alpha[window] > 127)[:, :, None]  # noqa: PLR2004
    character = np.where(inside, image[window], np.uint8(BACKGROUND))
    height, width = character.shape[:2]
    side = max(height, width)
    border = round(margin * side)
    top, left = (side - height) // 2 + border, (side - width) // 2 + border
    bottom, right = side - height - (side - height) // 2 + border, side - width - (side - width) // 2 + border
    return np.asarray(
        cv2.copyMakeBorder(character, top, bottom, left, right, cv2.BORDER_CONSTANT, value=[BACKGROUND] * 3),
        dtype=np.uint8,
    )
