"""Square crops for training: where to cut a character, a face or a background out of a frame."""

Box = tuple[float, float, float, float]
BODY_MARGIN = 1.2
FACE_SHARE = 0.5  # a face fills 40-60% of an expression's crop


def as_floats(box: tuple[int, int, int, int]) -> Box:
    """Return a box of whole pixels as floats."""
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def square_around(centre: tuple[float, float], side: float, size: tuple[int, int]) -> Box:
    """Return a square inside a picture of `size` (width, height), as near to `centre` as its edges allow."""
    side = min(side, *size)
    x0 = min(max(centre[0] - side / 2, 0.0), size[0] - side)
    y0 = min(max(centre[1] - side / 2, 0.0), size[1] - side)
    return round(x0, 2), round(y0, 2), round(x0 + side, 2), round(y0 + side, 2)


def body_crop(box: Box, size: tuple[int, int]) -> Box:
    """Return the square that shows the whole of a character's box with a little air."""
    side = BODY_MARGIN * max(box[2] - box[0], box[3] - box[1])
    return square_around(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), side, size)


def face_crop(face: Box, size: tuple[int, int]) -> Box:
    """Return the square of which a face fills about half the height."""
    side = max(face[2] - face[0], face[3] - face[1]) / FACE_SHARE
    return square_around(((face[0] + face[2]) / 2, (face[1] + face[3]) / 2), side, size)


def wide_crops(size: tuple[int, int]) -> list[Box]:
    """Return the left, middle and right squares of a wide picture; only the middle one where they would coincide."""
    width, height = size
    if width < 1.25 * height:
        return [square_around((width / 2, height / 2), min(size), size)]
    return [square_around((x, height / 2), height, size) for x in (0.0, width / 2, float(width))]
