"""The sheet of an evaluation suite: a row for each category, the same prompt and seed without the LoRA and with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from data_contracts.dataset import Dataset
from data_contracts.results import SuitePicture, SuiteScores
from models.sheets.drawing import (
    GREEN,
    INK,
    NOTE,
    PAPER,
    QUIET,
    RED,
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
from models.sheets.page import CONTENT, GUTTER, MARGIN, WIDTH, Page, draw_header, header_height

COLUMNS = 8
"""Pictures beside one another, about: where strengths are few, a row shows several prompts."""
HEADING = line_height(NOTE) + 4
LINES = 2  # of words below a picture
LABEL = 130  # room for a category's name


@dataclass(frozen=True)
class Asked:
    """One prompt and seed, at every strength."""

    prompt: str
    seed: int
    scores: tuple[SuiteScores, ...]


@dataclass(frozen=True)
class Row:
    """One category of the sheet, and where it lies in pixels."""

    category: str
    asked: Sequence[Asked]
    side: int
    top: int


def suite_sheet(scores: Dataset[SuiteScores], pictures: Dataset[SuitePicture], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show prompts of every category without the LoRA and at each strength; copies are framed red, finds green."""
    if not len(scores):
        return None
    strengths = sorted({row.strength for row in scores})
    beside = max(1, COLUMNS // len(strengths))
    rows = {category: evenly(_asked(each), beside) for category, each in scores.groups("category").items()}
    side = (CONTENT - LABEL) // (beside * len(strengths)) - GUTTER
    step = side + LINES * line_height(SMALL) + GUTTER
    page = Page("Evaluation suite", "prompts and seeds", _note(scores))
    top = header_height(page) + HEADING
    sheet = Image.new("RGB", (WIDTH, top + len(rows) * step + MARGIN), PAPER)
    draw_header(sheet, page, len(_asked(scores)), sum(map(len, rows.values())))
    _draw_heads(sheet, strengths * beside, side, top - HEADING)
    for line, (category, asked) in enumerate(rows.items()):
        _draw_row(sheet, Row(category, asked, side, top + line * step), pictures)
    return sheet


def _asked(scores: Dataset[SuiteScores]) -> list[Asked]:
    """Return prompts and seeds in order, each with its pictures by strength."""
    grouped: dict[tuple[str, int], list[SuiteScores]] = {}
    for row in scores:
        grouped.setdefault((row.prompt, row.seed), []).append(row)
    return [
        Asked(prompt, seed, tuple(sorted(rows, key=lambda row: row.strength)))
        for (prompt, seed), rows in grouped.items()
    ]


def _left(column: int, side: int) -> int:
    return MARGIN + LABEL + column * (side + GUTTER)


def _draw_heads(sheet: Picture, strengths: Sequence[float], side: int, y: int) -> None:
    draw = ImageDraw.Draw(sheet)
    for column, strength in enumerate(strengths):
        words = wrap(f"strength {strength:g}" if strength else "without", side, font(SMALL, bold=True), 1)[0]
        draw.text((_left(column, side), y), words, font=font(SMALL, bold=True), fill=INK)


def _draw_row(sheet: Picture, row: Row, pictures: Dataset[SuitePicture]) -> None:
    draw, column = ImageDraw.Draw(sheet), 0
    for n, word in enumerate(wrap(row.category, LABEL - GUTTER, font(NOTE, bold=True), 3)):
        draw.text((MARGIN, row.top + n * line_height(NOTE)), word, font=font(NOTE, bold=True), fill=INK)
    for asked in row.asked:
        room = len(asked.scores) * (row.side + GUTTER) - GUTTER
        for n, line in enumerate(wrap(f"seed {asked.seed}: {asked.prompt}", room, font(SMALL), LINES)):
            at = (_left(column, row.side), row.top + row.side + 3 + n * line_height(SMALL))
            draw.text(at, line, font=font(SMALL), fill=QUIET)
        for scores in asked.scores:
            picture = read(pictures.path(pictures.by_id[scores.picture_id].image))
            _draw_cell(sheet, scores, picture, (_left(column, row.side), row.top), row.side)
            column += 1


def _note(scores: Dataset[SuiteScores]) -> str:
    judged = "green: found by the judge" if any(row.findings for row in scores) else ""
    checked = "red: repeats a training picture" if any(row.copying for row in scores) else ""
    return " · ".join(filter(None, ["the same seed without the LoRA and with it", judged, checked]))


def _draw_cell(sheet: Picture, row: SuiteScores, picture: Picture, at: tuple[int, int], side: int) -> None:
    x, y = at
    draw = ImageDraw.Draw(sheet)
    paste_centred(sheet, fit(picture, (side, side)), at, (side, side))
    copied = row.copying is not None and row.copying.is_copy
    if copied or any(finding.is_found for finding in row.findings):
        draw.rectangle((x - 3, y - 3, x + side + 2, y + side + 2), outline=RED if copied else GREEN, width=3)
