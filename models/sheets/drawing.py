"""What all contact sheets are drawn with: colours, fonts, wrapped text, and pictures made to fit."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

Picture = Image.Image
Colour = tuple[int, int, int]
Size = tuple[int, int]
T = TypeVar("T")

PAPER: Colour = (255, 255, 255)
INK: Colour = (27, 30, 36)
QUIET: Colour = (98, 105, 117)
FAINT: Colour = (238, 240, 243)
RED: Colour = (179, 32, 32)
GREEN: Colour = (34, 160, 84)
MAGENTA: Colour = (214, 38, 160)
BLUE: Colour = (33, 118, 214)
ORANGE: Colour = (240, 128, 22)
TRACKS: tuple[Colour, ...] = (
    ORANGE,
    BLUE,
    GREEN,
    MAGENTA,
    (148, 92, 214),
    (0, 160, 170),
    (222, 60, 60),
    (150, 130, 20),
)
CHECKS: tuple[Colour, Colour] = ((250, 250, 251), (226, 229, 234))

TITLE, HEADING, NOTE, SMALL = 26, 18, 15, 13


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib ships, so that sheets look the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def line_height(size: int) -> int:
    """Return the distance of two base lines in pixels."""
    return round(size * 1.35)


def ellipsis(text: str, width: int, face: ImageFont.FreeTypeFont) -> str:
    """Return the text, cut to `width` pixels with an ellipsis where it is longer."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: int, face: ImageFont.FreeTypeFont, most: int) -> list[str]:
    """Break text into at most `most` lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    shown = lines[: most - 1] + ([" ".join(lines[most - 1 :])] if len(lines) >= most else [])
    return [ellipsis(part, width, face) for part in shown]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of the items, first and last included, at even distances and in order."""
    if len(items) <= count:
        return list(items)
    if count <= 1:
        return list(items[:count])
    return [items[round(n * (len(items) - 1) / (count - 1))] for n in range(count)]


def clock(seconds: float) -> str:
    """Return minutes, seconds and tenths, such as `1:02.5`."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def read(path: Path) -> Picture:
    """Read a picture as RGB; what is transparent shows a checkerboard."""
    with Image.open(path) as opened:
        if opened.mode in {"RGBA", "LA", "PA"}:
            return on_checkerboard(opened.convert("RGBA"))
        return opened.convert("RGB")


def on_checkerboard(cutout: Picture) -> Picture:
    """Lay an RGBA picture over a checkerboard of 12 squares along its longer side."""
    side = max(1, max(cutout.size) // 12)
    board = Image.new("RGB", ((cutout.width - 1) // side + 1, (cutout.height - 1) // side + 1))
    board.putdata([CHECKS[(n // board.width + n % board.width) % 2] for n in range(board.width * board.height)])
    large = board.resize((board.width * side, board.height * side), Image.Resampling.NEAREST)
    ground = large.crop((0, 0, *cutout.size))
    ground.paste(cutout, (0, 0), cutout)
    return ground


def within(size: Size, box: Size) -> Size:
    """Return the largest size of the same proportions that lies within the box."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit(picture: Picture, box: Size) -> Picture:
    """Scale a picture to lie within the box, up or down."""
    return picture.resize(within(picture.size, box), Image.Resampling.LANCZOS)


def paste_centred(sheet: Picture, picture: Picture, at: Size, box: Size) -> None:
    """Paste a picture into the middle of the box at `at`; where it leaves the box bare, that is faint."""
    (x, y), (width, height) = at, box
    if picture.size != box:
        ImageDraw.Draw(sheet).rectangle((x, y, x + width - 1, y + height - 1), fill=FAINT)
    sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))


def tag(picture: Picture, at: Size, text: str, colour: Colour) -> None:
    """Write a small white label on a colour into the picture, moved to lie inside it."""
    face = font(11, bold=True)
    width, height = round(face.getlength(text)) + 8, 16
    x = min(max(0, at[0]), max(0, picture.width - width))
    y = min(max(0, at[1] - height), max(0, picture.height - height))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    draw.text((x + 4, y + 1), text, font=face, fill=PAPER)
