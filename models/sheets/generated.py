"""Sheets of generated pictures: a labelled grid, rows by prompt and seed, a column for each set of weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from PIL import Image, ImageDraw

from data_contracts.dataset import Dataset
from data_contracts.results import Evaluation, StackPicture, WayPicture
from data_contracts.results import Picture as Generated
from models.metrics.stacking_ways import NAMES
from models.sheets.drawing import (
    FAINT,
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
    wrap,
)
from models.sheets.page import CONTENT, GUTTER, HEIGHT, MARGIN, WIDTH, Page, draw_header, header_height

SMALLEST, LARGEST = 136, 320  # sides of a cell in pixels; a sheet of many columns grows wider than others
FEW = 2
P = TypeVar("P", bound=Generated)
RowKey = tuple[str, int]


@dataclass(frozen=True)
class Grid:
    """Where the cells of a grid lie, in pixels."""

    side: int
    label: int
    top: int
    columns: tuple[str, ...]
    rows: tuple[RowKey, ...]
    blocks: int = 1  # rows beside one another, where columns are few
    notes: int = 1  # lines of text below a cell

    @property
    def step(self) -> int:
        """Distance of two rows."""
        return self.side + self.notes * line_height(SMALL) + GUTTER

    @property
    def lines(self) -> int:
        """Number of rows below one another."""
        return -(-len(self.rows) // self.blocks)

    @property
    def width(self) -> int:
        """Width of a block, with the gap to the next."""
        return self.label + len(self.columns) * (self.side + GUTTER) + GUTTER

    def left(self, row: int) -> int:
        """Return the left edge of a row's header."""
        return MARGIN + row % self.blocks * self.width

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return the top left corner of a cell."""
        x = self.left(row) + self.label + column * (self.side + GUTTER)
        return x, self.top + row // self.blocks * self.step


def evaluation_sheet(pictures: Dataset[Evaluation], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show the pictures without and with a LoRA beside one another, same prompt and seed."""
    names = {weight.lora for row in pictures for weight in row.weights}
    return _grid_sheet(pictures, f"Evaluation of {', '.join(sorted(names))}" if names else "Evaluation")


def composition_sheet(pictures: Dataset[StackPicture], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show every seed under every set of weights: base, each LoRA alone, all, all but one."""
    return _grid_sheet(pictures, "Composition: LoRAs alone, all together, all but one")


def stacking_sheet(pictures: Dataset[WayPicture], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show every seed by every way of stacking all LoRAs."""
    return _grid_sheet(pictures, "Ways of stacking all LoRAs", NAMES)


def _grid_sheet(pictures: Dataset[P], title: str, names: Mapping[str, str] = MappingProxyType({})) -> Picture | None:
    """Draw a grid of pictures; `names`: what columns are called, where not as their variants."""
    if not len(pictures):
        return None
    prompts = list(dict.fromkeys(row.prompt for row in pictures))
    columns = tuple(dict.fromkeys(row.variant for row in pictures))
    keys = list(dict.fromkeys((row.prompt, row.seed) for row in pictures))
    note = f"prompt: {prompts[0]}" if len(prompts) == 1 else f"{len(prompts)} prompts"
    page = Page(title, "rows", note)
    weights = {row.variant: [*_weight_lines(row), *_found_line(pictures, row)] for row in reversed(pictures.rows)}
    top = header_height(page) + line_height(NOTE) * 2 + line_height(SMALL) * max(map(len, weights.values())) + 6
    notes = 2 if max(len(row.findings) for row in pictures) > FEW else 1
    grid = _lay_out(keys, columns, top, 92 if len(prompts) == 1 else 150, notes)
    width = max(WIDTH, 2 * (MARGIN - GUTTER) + grid.blocks * grid.width)
    sheet = Image.new("RGB", (width, top + grid.lines * grid.step + MARGIN - GUTTER), PAPER)
    draw_header(sheet, page, len(keys), len(grid.rows))
    for block in range(grid.blocks):
        _draw_columns(sheet, grid, block, weights, names)
    _draw_rows(sheet, grid, prompts)
    _draw_cells(sheet, grid, pictures)
    return sheet


def _lay_out(keys: list[RowKey], columns: tuple[str, ...], top: int, label: int, notes: int) -> Grid:
    """Make cells as large as the page lets them be; two rows share a line where columns are few."""
    blocks = 2 if len(columns) <= FEW and len(keys) > FEW else 1
    room = CONTENT // blocks - label - GUTTER * len(columns)
    side = min(LARGEST, max(SMALLEST, room // len(columns)))
    lines = max(1, (HEIGHT - top - MARGIN) // (side + notes * line_height(SMALL) + GUTTER))
    return Grid(side, label, top, columns, tuple(evenly(keys, lines * blocks)), blocks, notes)


def _weight_lines(row: Generated) -> list[str]:
    return [f"{weight.lora} {weight.weight:g}" for weight in row.weights if weight.weight] or ["no LoRA"]


def _found_line(pictures: Dataset[P], like: Generated) -> list[str]:
    """Return how many of a column's pictures show all that the judge was asked about."""
    judged = [row for row in pictures if row.variant == like.variant and row.findings]
    if not judged:
        return []
    whole = sum(all(finding.is_found for finding in row.findings) for row in judged)
    return [f"{'all ' if len(like.findings) > 1 else ''}found in {whole} of {len(judged)}"]


def _draw_columns(
    sheet: Picture, grid: Grid, block: int, weights: Mapping[str, list[str]], names: Mapping[str, str]
) -> None:
    draw = ImageDraw.Draw(sheet)
    tallest = max(map(len, weights.values()))
    for n, name in enumerate(grid.columns):
        x = grid.corner(block, n)[0]
        y = grid.top - 6 - line_height(SMALL) * tallest - line_height(NOTE) * 2
        lines = wrap(names.get(name, name), grid.side, font(NOTE, bold=True), 2)
        y += line_height(NOTE) * (2 - len(lines))
        for line in lines:
            draw.text((x, y), line, font=font(NOTE, bold=True), fill=INK)
            y += line_height(NOTE)
        for line in weights[name]:
            draw.text((x, y), wrap(line, grid.side, font(SMALL), 1)[0], font=font(SMALL), fill=QUIET)
            y += line_height(SMALL)


def _draw_rows(sheet: Picture, grid: Grid, prompts: Sequence[str]) -> None:
    draw = ImageDraw.Draw(sheet)
    for n, (prompt, seed) in enumerate(grid.rows):
        y = grid.corner(n, 0)[1]
        draw.text((grid.left(n), y), f"seed {seed}", font=font(SMALL, bold=True), fill=INK)
        if len(prompts) > 1:
            most = max(1, grid.side // line_height(SMALL) - 1)
            for k, line in enumerate(wrap(prompt, grid.label - GUTTER, font(SMALL), most)):
                draw.text((grid.left(n), y + (k + 1) * line_height(SMALL) + 2), line, font=font(SMALL), fill=QUIET)


def _draw_cells(sheet: Picture, grid: Grid, pictures: Dataset[P]) -> None:
    draw = ImageDraw.Draw(sheet)
    by_place = {(row.prompt, row.seed, row.variant): row for row in pictures}
    for n, (prompt, seed) in enumerate(grid.rows):
        for k, variant in enumerate(grid.columns):
            x, y = grid.corner(n, k)
            row = by_place.get((prompt, seed, variant))
            if row is None:
                draw.rectangle((x, y, x + grid.side - 1, y + grid.side - 1), fill=FAINT)
                draw.text(
                    (x + grid.side // 2, y + grid.side // 2), "missing", font=font(SMALL), fill=QUIET, anchor="mm"
                )
                continue
            square = (grid.side, grid.side)
            paste_centred(sheet, fit(read(pictures.path(row.image)), square), (x, y), square)
            if row.findings:
                _draw_findings(draw, row, (x, y + grid.side + 2), grid)
            elif isinstance(row, Evaluation | StackPicture) and row.weights:
                draw.text((x, y + grid.side + 2), f"changed {row.changed:.1f}", font=font(SMALL), fill=QUIET)


def _draw_findings(draw: ImageDraw.ImageDraw, row: Generated, corner: tuple[int, int], grid: Grid) -> None:
    """Write what the judge found in green, what it missed in grey, in as many lines as the grid has for it."""
    each = -(-len(row.findings) // grid.notes)
    for n, finding in enumerate(row.findings):
        line, place = divmod(n, each)
        room = grid.side // each
        x, y = corner[0] + place * room, corner[1] + line * line_height(SMALL)
        words = wrap(finding.lora, room - 4, font(SMALL, bold=finding.is_found), 1)[0]
        draw.text((x, y), words, font=font(SMALL, bold=finding.is_found), fill=GREEN if finding.is_found else QUIET)
