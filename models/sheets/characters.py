"""The sheet of several characters in one picture: a row for each seed, a column for each way of stacking."""

from PIL import Image, ImageDraw

from data_contracts.characters import Separation
from data_contracts.dataset import Dataset
from data_contracts.generation import StackingMethod
from data_contracts.results import CharactersPicture
from models.metrics.separation import NAMES, separations
from models.sheets.drawing import (
    GREEN,
    INK,
    NOTE,
    PAPER,
    QUIET,
    SMALL,
    Picture,
    evenly,
    fit,
    font,
    line_height,
    paste_centred,
    read,
)
from models.sheets.page import CONTENT, GUTTER, HEIGHT, MARGIN, WIDTH, Page, draw_header, header_height

_LABEL = 74  # pixels: the column of seeds
_WIDEST = 420


def characters_sheet(pictures: Dataset[CharactersPicture], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show every seed by every way of stacking; below each, how much its regions show whom they are of."""
    if not len(pictures):
        return None
    names = list(dict.fromkeys(sight.region for row in pictures for sight in row.sights))
    methods: list[StackingMethod] = [method for method in NAMES if any(row.variant == method for row in pictures)]
    seeds = list(dict.fromkeys(row.seed for row in pictures))
    size = read(pictures.path(pictures.rows[0].image)).size
    wide = min(_WIDEST, (CONTENT - _LABEL) // len(methods) - GUTTER)
    cell = (wide, round(wide * size[1] / size[0]))
    lines = 2 if pictures.rows[0].findings else 1
    row_height = cell[1] + lines * line_height(SMALL) + GUTTER
    page = Page(
        " and ".join(names) + " in one picture" if names else "Several characters in one picture",
        "seeds",
        "below a picture: how likely each region shows its own character"
        + (", and in brackets another" if lines > 1 else ""),
    )
    top = header_height(page) + line_height(NOTE) + line_height(SMALL)
    shown = evenly(seeds, max(1, (HEIGHT - top - MARGIN) // row_height))
    sheet = Image.new("RGB", (WIDTH, top + len(shown) * row_height + MARGIN - GUTTER), PAPER)
    draw_header(sheet, page, len(seeds), len(shown))
    draw = ImageDraw.Draw(sheet)
    first = {each.method: each for each in reversed(separations(pictures.rows))}
    for column, method in enumerate(methods):
        x, y = MARGIN + _LABEL + column * (wide + GUTTER), top - line_height(NOTE) - line_height(SMALL) - 4
        draw.text((x, y), NAMES[method], font=font(NOTE, bold=True), fill=INK)
        if method in first:
            words = _found(first[method])
            draw.text((x, y + line_height(NOTE)), words, font=font(SMALL), fill=QUIET)
        for number, seed in enumerate(shown):
            corner = (x, top + number * row_height)
            row = next((each for each in pictures if (each.seed, each.variant) == (seed, method)), None)
            if row is not None:
                paste_centred(sheet, fit(read(pictures.path(row.image)), cell), corner, cell)
                _draw_findings(draw, row, (x, corner[1] + cell[1] + 2), wide)
    for number, seed in enumerate(shown):
        draw.text((MARGIN, top + number * row_height), f"seed {seed}", font=font(SMALL, bold=True), fill=INK)
    return sheet


def _found(each: Separation) -> str:
    return f"{each.own - each.bleed:+.2f} apart" if each.apart is None else f"all found in {each.apart:.0%}"


def _draw_findings(draw: ImageDraw.ImageDraw, row: CharactersPicture, at: tuple[int, int], wide: int) -> None:
    """Write below a picture what its regions show: green where a region shows its own character most."""
    measure = row.sights[0].measure if row.sights else ""  # the judge's, where there are findings
    for number, finding in enumerate(row.findings):
        other = max(
            sight.value
            for sight in row.sights
            if sight.region == finding.lora != sight.lora and sight.measure == measure
        )
        own = finding.is_found and finding.probability > other
        x = at[0] + number * (wide // len(row.findings))
        draw.text((x, at[1]), finding.lora, font=font(SMALL, bold=own), fill=GREEN if own else QUIET)
        words = f"{finding.probability:.2f} ({other:.2f})"
        draw.text((x, at[1] + line_height(SMALL)), words, font=font(SMALL), fill=GREEN if own else QUIET)
