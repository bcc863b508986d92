"""A run's contact picture: a few generated pictures beside one another, small."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from models.sheets.drawing import PAPER, Picture, evenly, read

COLUMNS, ROWS, SIDE, GAP = 4, 2, 120, 4


def contact_picture(paths: Sequence[Path]) -> Picture | None:
    """Return at most eight of the pictures, evenly chosen, cut to squares, in one row or two; None of nothing."""
    chosen = evenly(paths, COLUMNS * ROWS)
    if not chosen:
        return None
    rows = -(-len(chosen) // COLUMNS)
    columns = -(-len(chosen) // rows)
    sheet = Image.new("RGB", (columns * (SIDE + GAP) - GAP, rows * (SIDE + GAP) - GAP), PAPER)
    for place, path in enumerate(chosen):
        row, column = divmod(place, columns)
        sheet.paste(ImageOps.fit(read(path), (SIDE, SIDE)), (column * (SIDE + GAP), row * (SIDE + GAP)))
    return sheet


def top_of(sheet: Path) -> Picture:
    """Return the upper part of a contact sheet, as wide as a contact picture of two rows, and as high."""
    size = (COLUMNS * (SIDE + GAP) - GAP, ROWS * (SIDE + GAP) - GAP)
    return ImageOps.fit(read(sheet), size, centering=(0, 0))
