"""A contact sheet's page: a header, then sections of equal tiles, sampled evenly so that the height stays bounded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.sheets.drawing import (
    BLUE,
    FAINT,
    HEADING,
    INK,
    NOTE,
    ORANGE,
    PAPER,
    QUIET,
    SMALL,
    TITLE,
    Colour,
    Picture,
    Size,
    ellipsis,
    evenly,
    font,
    line_height,
    paste_centred,
    wrap,
)

WIDTH, HEIGHT = 1200, 1600
MARGIN, GUTTER, ROW_GUTTER, BAND = 24, 12, 14, 6
CONTENT = WIDTH - 2 * MARGIN
HEADING_HEIGHT = 36


@dataclass(frozen=True)
class Tile:
    """A picture, drawn to fit the size that it is given, and the text below it."""

    draw: Callable[[Size], Picture]
    text: str = ""
    band: str = ""  # neighbours with the same band are joined by a coloured strip above them


@dataclass(frozen=True)
class Section:
    """Tiles under a heading."""

    tiles: Sequence[Tile]
    heading: str = ""
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What stands at the top, and how tiles are laid out."""

    title: str
    unit: str  # what the tiles are, for "60 of 412 frames shown"; empty where nothing is counted
    note: str = ""
    aspect: float = 1.0  # height of a tile's picture over its width
    columns: tuple[int, ...] = (4, 6, 8)  # the fewest that let all tiles be shown, else the last
    text_lines: int = 1
    legend: tuple[tuple[Colour, str], ...] = ()


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels, and the tiles of each section that are shown."""

    columns: int
    tile: Size
    row: int
    header: int
    shown: tuple[list[Tile], ...]


def draw_page(page: Page, sections: Sequence[Section]) -> Picture | None:
    """Draw the page, `(<= 1600, 1200, 3)` RGB; None where no section has a tile."""
    sections = [section for section in sections if section.tiles]
    if not sections:
        return None
    layout = next((x for x in (_lay_out(page, sections, n) for n in page.columns) if _complete(x, sections)), None)
    layout = layout or _lay_out(page, sections, page.columns[-1])
    sections = sections[: len(layout.shown)]
    height = layout.header + sum(_section_height(layout, s, t) for s, t in zip(sections, layout.shown, strict=True))
    sheet = Image.new("RGB", (WIDTH, height + MARGIN - ROW_GUTTER), PAPER)
    draw_header(sheet, page, sum(len(section.tiles) for section in sections), sum(map(len, layout.shown)))
    y = layout.header
    for section, tiles in zip(sections, layout.shown, strict=True):
        _draw_section(sheet, layout, section, tiles, y)
        y += _section_height(layout, section, tiles)
    return sheet


def header_height(page: Page) -> int:
    """Return the height of title, note and legend."""
    return MARGIN + line_height(TITLE) + line_height(NOTE) * (2 if page.legend else 1) + 18


def draw_header(sheet: Picture, page: Page, total: int, shown: int) -> None:
    """Write title, counts and legend."""
    draw = ImageDraw.Draw(sheet)
    width, y = sheet.width - 2 * MARGIN, MARGIN - 6
    draw.text((MARGIN, y), wrap(page.title, width, font(TITLE, bold=True), 1)[0], font=font(TITLE, bold=True), fill=INK)
    y += line_height(TITLE)
    counts = f"all {total} {page.unit} shown" if shown == total else f"{shown} of {total} {page.unit} shown"
    note = " · ".join(filter(None, [counts if page.unit and total > 1 else "", page.note]))
    draw.text((MARGIN, y), wrap(note, width, font(NOTE), 1)[0], font=font(NOTE), fill=QUIET)
    x, y = MARGIN, y + line_height(NOTE) + 2
    for colour, text in page.legend:
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=colour)
        draw.text((x + 18, y), text, font=font(NOTE), fill=QUIET)
        x += 18 + round(font(NOTE).getlength(text)) + 22


def rows_by_section(counts: Sequence[int], columns: int, budget: int) -> list[int]:
    """Share out rows: one for each section, then one at a time to the section that hides most tiles.

    Where even one row for each does not fit, the last sections get none.
    """
    rows = [1] * min(len(counts), budget)
    for _ in range(budget - len(rows)):
        hidden = [count - columns * has for count, has in zip(counts, rows, strict=False)]
        if max(hidden) <= 0:
            break
        rows[hidden.index(max(hidden))] += 1
    return rows


def _lay_out(page: Page, sections: Sequence[Section], columns: int) -> Layout:
    width = (CONTENT - (columns - 1) * GUTTER) // columns
    size = (width, round(width * page.aspect))
    banded = any(tile.band for section in sections for tile in section.tiles)
    row = size[1] + page.text_lines * line_height(SMALL) + 6 + ROW_GUTTER + (BAND + 3) * banded
    header = header_height(page)
    heading = HEADING_HEIGHT if any(section.heading for section in sections) else 0
    room = HEIGHT - MARGIN - header
    shown_sections = sections[: max(1, room // (heading + row))]
    budget = max(len(shown_sections), (room - heading * len(shown_sections)) // row)
    rows = rows_by_section([len(section.tiles) for section in shown_sections], columns, budget)
    shown = (evenly(section.tiles, n * columns) for section, n in zip(shown_sections, rows, strict=True))
    return Layout(columns, size, row, header, tuple(shown))


def _complete(layout: Layout, sections: Sequence[Section]) -> bool:
    return sum(map(len, layout.shown)) == sum(len(section.tiles) for section in sections)


def _section_height(layout: Layout, section: Section, tiles: Sequence[Tile]) -> int:
    return (HEADING_HEIGHT if section.heading else 0) + -(-len(tiles) // layout.columns) * layout.row


def _draw_section(sheet: Picture, layout: Layout, section: Section, tiles: list[Tile], top: int) -> None:
    if section.heading:
        _draw_heading(sheet, section, top, "" if len(tiles) == len(section.tiles) else f"{len(tiles)} shown")
        top += HEADING_HEIGHT
    strip = 0
    for n, tile in enumerate(tiles):
        strip += n > 0 and tile.band != tiles[n - 1].band
        x = MARGIN + n % layout.columns * (layout.tile[0] + GUTTER)
        y = top + n // layout.columns * layout.row
        first = n == 0 or tile.band != tiles[n - 1].band
        if tile.band:
            last_in_row = n + 1 == len(tiles) or (n + 1) % layout.columns == 0
            reach = 0 if last_in_row or tiles[n + 1].band != tile.band else GUTTER
            ImageDraw.Draw(sheet).rectangle(
                (x, y, x + layout.tile[0] - 1 + reach, y + BAND - 1), fill=(BLUE, ORANGE)[strip % 2]
            )
            y += BAND + 3
        _draw_tile(sheet, layout, tile, (x, y), bold=bool(tile.band) and first)


def _draw_heading(sheet: Picture, section: Section, top: int, shown: str) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.line((MARGIN, top, sheet.width - MARGIN - 1, top), fill=FAINT, width=2)
    face, note = font(HEADING, bold=True), " · ".join(filter(None, [section.note, shown]))
    room = sheet.width - 2 * MARGIN - (12 + round(font(NOTE).getlength(note)) if note else 0)
    heading = ellipsis(section.heading, room, face)
    draw.text((MARGIN, top + 8), heading, font=face, fill=INK)
    draw.text((MARGIN + face.getlength(heading) + 12, top + 10), note, font=font(NOTE), fill=QUIET)


def _draw_tile(sheet: Picture, layout: Layout, tile: Tile, at: Size, *, bold: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    (x, y), (width, height) = at, layout.tile
    paste_centred(sheet, tile.draw(layout.tile), at, layout.tile)
    face = font(SMALL, bold=bold)
    most = max(1, (layout.row - height - ROW_GUTTER) // line_height(SMALL))
    for n, line in enumerate(wrap(tile.text, width, face, most)):
        draw.text((x, y + height + 4 + n * line_height(SMALL)), line, font=face, fill=INK)
