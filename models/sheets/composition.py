"""The figure of a composition test: who disturbs whom as a heat map, and what each LoRA adds as bars."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from data_contracts.composition import Change, Composition, Effect
from models.sheets.drawing import (
    BLUE,
    FAINT,
    INK,
    NOTE,
    ORANGE,
    PAPER,
    QUIET,
    SMALL,
    Colour,
    Picture,
    Size,
    ellipsis,
    font,
    line_height,
)
from models.sheets.page import GUTTER, MARGIN, WIDTH, Page, draw_header, header_height

FIGURE = "interference.png"
NAMES, ROW, LARGEST_CELL, BARS = 150, 64, 130, 380
"""Pixels: the column of names, the height of a row, the widest cell of the map, the width of the bars."""
_DARK = 0.6  # of the full colour; text on darker cells is white


@dataclass(frozen=True)
class Grid:
    """Where the map's cells lie, in pixels."""

    left: int
    top: int
    cell: Size
    rows: Sequence[str]
    columns: Sequence[str]

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return the top left corner of a cell."""
        return self.left + column * self.cell[0], self.top + row * self.cell[1]


def interference_figure(composition: Composition) -> Picture | None:
    """Draw what adding each LoRA to the others does to each score, and what each adds to its own; None if unjudged."""
    stack = [each for each in composition.effects if each.where == "stack"]
    if not stack:
        return None
    page = Page(
        "Who disturbs whom in the stack",
        "",
        f"what adding a LoRA to all others changes; mean of {stack[0].change.seeds} seeds and its 95 % interval",
        legend=((ORANGE, "lowers it"), (BLUE, "raises it"), (FAINT, "no change")),
    )
    room = WIDTH - 2 * MARGIN - NAMES - 2 * GUTTER - BARS
    cell = (max(60, min(LARGEST_CELL, room // len(composition.loras))), ROW)
    top = header_height(page) + 2 * line_height(NOTE)
    grid = Grid(MARGIN + NAMES, top, cell, composition.judged, composition.loras)
    right = grid.corner(0, len(grid.columns))[0] + 2 * GUTTER
    sheet = Image.new("RGB", (max(WIDTH, right + BARS + MARGIN), grid.corner(len(grid.rows), 0)[1] + MARGIN), PAPER)
    draw_header(sheet, page, 0, 0)
    _draw_map(ImageDraw.Draw(sheet), grid, stack)
    _draw_bars(ImageDraw.Draw(sheet), grid, right, composition.effects)
    return sheet


def in_words(composition: Composition) -> str:
    """Return what the figure shows, for those who cannot see it."""
    stack = [each for each in composition.effects if each.where == "stack" and each.of != each.by]
    cells = ", ".join(f"{each.by} changes {each.of} by {each.change.mean:+z.2f}" for each in stack)
    return f"Heat map of what adding each LoRA to the others does to each subject's score: {cells}"


def _draw_map(draw: ImageDraw.ImageDraw, grid: Grid, stack: Sequence[Effect]) -> None:
    width, height = grid.cell
    _name(draw, (MARGIN, grid.top - line_height(NOTE) - 6), "score of", NAMES - 8)
    for column, name in enumerate(grid.columns):
        x = grid.corner(0, column)[0]
        _name(draw, (x, grid.top - line_height(NOTE) - 6), f"+ {name}", width - 6)
    for row, name in enumerate(grid.rows):
        _name(draw, (MARGIN, grid.corner(row, 0)[1] + height // 2 - 10), name, NAMES - 8)
    for each in stack:
        x, y = grid.corner(grid.rows.index(each.of), grid.columns.index(each.by))
        box = (x, y, x + width - 3, y + height - 3)
        draw.rectangle(box, fill=shade(each.change.mean))
        if each.of == each.by:
            draw.rectangle(box, outline=QUIET, width=1)
        ink = PAPER if abs(each.change.mean) > _DARK else INK
        middle = x + width // 2
        sure = each.change.is_lower or each.change.is_higher
        words = f"{each.change.mean:+z.2f}"
        draw.text((middle, y + height // 2 - 10), words, font=font(NOTE, bold=sure), fill=ink, anchor="mm")
        draw.text((middle, y + height // 2 + 12), _interval(each.change), font=font(11), fill=ink, anchor="mm")


def _draw_bars(draw: ImageDraw.ImageDraw, grid: Grid, left: int, found: Sequence[Effect]) -> None:
    """Draw for each row what its LoRA adds to its own score: alone to the base model, and to the stack."""
    _name(draw, (left, grid.top - line_height(NOTE) - 6), "what it adds to its own score", BARS)
    own = {(each.of, each.where): each.change for each in found if each.of == each.by}
    zero, scale = left + 60 + (BARS - 130) // 2, (BARS - 130) // 2
    for row, name in enumerate(grid.rows):
        y = grid.corner(row, 0)[1]
        for place, (where, words, colour) in enumerate((("stack", "stacked", INK), ("alone", "alone", QUIET))):
            change = next((value for key, value in own.items() if key == (name, where)), None)
            if change is None:
                continue
            line = y + 10 + place * (ROW // 2 - 4)
            draw.text((left, line), words, font=font(SMALL), fill=QUIET)
            end = zero + round(change.mean * scale)
            draw.rectangle((min(zero, end), line + 2, max(zero, end), line + 14), fill=colour)
            if change.low is not None and change.high is not None:
                ends = [zero + round(value * scale) for value in (change.low, change.high)]
                draw.line((ends[0], line + 8, ends[1], line + 8), fill=ORANGE, width=2)
            draw.text((left + BARS - 56, line), f"{change.mean:+z.2f}", font=font(SMALL), fill=INK)
    draw.line((zero, grid.top, zero, grid.corner(len(grid.rows), 0)[1] - 4), fill=QUIET, width=1)


def shade(change: float) -> Colour:
    """Return the colour of a change, -1..1: nearer to orange the more it lowers, to blue the more it raises."""
    share = min(1.0, abs(change))
    red, green, blue = (
        round(quiet + (full - quiet) * share) for quiet, full in zip(FAINT, ORANGE if change < 0 else BLUE, strict=True)
    )
    return red, green, blue


def _interval(change: Change) -> str:
    return "" if change.low is None or change.high is None else f"{change.low:+z.2f} to {change.high:+z.2f}"


def _name(draw: ImageDraw.ImageDraw, at: Size, text: str, width: int) -> None:
    face = font(NOTE, bold=True)
    draw.text(at, ellipsis(text, width, face), font=face, fill=INK)
