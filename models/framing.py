"""Crops for training: where to cut a character, a face or a background out of a frame, as squares or as buckets are."""

from collections.abc import Sequence

import numpy as np

from data_contracts.lora_stages import BODY_MARGIN, FACE_SHARE
from models.buckets import Size, buckets, nearest_bucket
from models.pictures import Picture

Box = tuple[float, float, float, float]
SQUARE: tuple[Size, ...] = ((1, 1),)
"""The one shape of crops where no buckets are wanted."""
SHAPES = buckets(512)
"""The shapes of crops for buckets: those of all resolutions up to 512 that 64 divides, and nearly so of all others."""
HALF_A_PIXEL = 0.5
FACE_ROOM = 1.2
"""How large the oval is that counts as the face, in the face's box: brows and chin are at its edge."""
SAME_WIDTH = 1.25  # a plate less than this wider than its crop gives one crop: three would show the same


def as_floats(box: tuple[int, int, int, int]) -> Box:
    """Return a box of whole pixels as floats."""
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def body_crop(box: Box, size: Size, shapes: Sequence[Size] = SQUARE, margin: float = BODY_MARGIN) -> Box:
    """Return the crop that shows the whole of a character's box with a little air, of the shape that adds least to it.

    Where the picture has no room for the air, of the shapes that show most of the box.

    Args:
        box: x0, y0, x1, y1 in pixels.
        size: width and height of the picture, in pixels.
        shapes: what to choose from, as width and height.
        margin: how long the crop is, in the longer side of the box.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    shown = [min(width, across) * min(height, down) for across, down in (_largest(shape, size) for shape in shapes)]
    shapes = [shape for shape, area in zip(shapes, shown, strict=True) if area == max(shown)]
    air = margin * max(width, height) - max(width, height)
    width, height = min(width + air, size[0]), min(height + air, size[1])
    shape = nearest_bucket(width, height, shapes)
    return _around(_middle(box), max(width, height * shape[0] / shape[1]), shape, size)


def face_crop(face: Box, size: Size, share: float = FACE_SHARE) -> Box:
    """Return the square of whose height a face fills this share."""
    side = max(face[2] - face[0], face[3] - face[1]) / share
    return _around(_middle(face), side, SQUARE[0], size)


def within_face(mask: Picture, face: Box, crop: Box) -> Picture:
    """Return the part of a crop's mask `(H, W)` that lies in the oval of a face: not the hair, nor what is worn.

    What shows an expression is small, and hair and clothes are the same in many pictures of it: where they count, they
    are learnt first.

    Args:
        mask: of the crop, at any size.
        face: x0, y0, x1, y1 in pixels of the picture that the crop is of.
        crop: in the same pixels.
    """
    height, width = mask.shape
    across, down = width / (crop[2] - crop[0]), height / (crop[3] - crop[1])
    x, y = _middle(face)
    rows, columns = np.mgrid[:height, :width] + HALF_A_PIXEL
    beside = (columns - (x - crop[0]) * across) / ((face[2] - face[0]) / 2 * FACE_ROOM * across)
    above = (rows - (y - crop[1]) * down) / ((face[3] - face[1]) / 2 * FACE_ROOM * down)
    return np.where(beside**2 + above**2 <= 1, mask, 0).astype(mask.dtype)


def wide_crops(size: Size, shapes: Sequence[Size] = SQUARE) -> list[Box]:
    """Return the left, middle and right of a wide picture; only the middle where they would be nearly the same."""
    width, height = size
    shape = nearest_bucket(width, height, shapes)
    across = min(width, height * shape[0] / shape[1])
    if width < SAME_WIDTH * across:
        return [_around((width / 2, height / 2), across, shape, size)]
    return [_around((x, height / 2), across, shape, size) for x in (0.0, width / 2, float(width))]


def scaled_size(box: Box, resolution: int) -> Size:
    """Return the width and height in pixels that a crop is scaled to: the nearest bucket's, or those of the square."""
    width, height = nearest_bucket(box[2] - box[0], box[3] - box[1], buckets(resolution))
    return (width, height) if width != height else (resolution, resolution)  # which need be no multiple of the step


def trimmed(box: Box, shape: Size) -> Box:
    """Return the largest part of a box that has this shape, its middle; the box itself where no pixel would be lost."""
    width, height = box[2] - box[0], box[3] - box[1]
    across = min(width, height * shape[0] / shape[1])
    down = across * shape[1] / shape[0]
    if max(width - across, height - down) < HALF_A_PIXEL:
        return box
    x0, y0 = box[0] + (width - across) / 2, box[1] + (height - down) / 2
    return round(x0, 2), round(y0, 2), round(x0 + across, 2), round(y0 + down, 2)


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _largest(shape: Size, size: Size) -> tuple[float, float]:
    """Return width and height of the largest crop of this shape in a picture of this size."""
    width = min(size[0], size[1] * shape[0] / shape[1])
    return width, min(width * shape[1] / shape[0], size[1])


def _around(centre: tuple[float, float], width: float, shape: Size, size: Size) -> Box:
    """Return a crop of this width and shape, smaller where the picture is, as near to `centre` as its edges allow."""
    width = min(width, _largest(shape, size)[0])
    height = min(width * shape[1] / shape[0], size[1])
    x0 = min(max(centre[0] - width / 2, 0.0), size[0] - width)
    y0 = min(max(centre[1] - height / 2, 0.0), size[1] - height)
    return round(x0, 2), round(y0, 2), round(x0 + width, 2), round(y0 + height, 2)
