"""Sheets of what is trained on: captions beside what they describe, and the examples themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data_contracts.dataset import Dataset
from data_contracts.records import Caption, Example, Frame, Layer, Plate
from models.sheets.drawing import (
    FAINT,
    INK,
    NOTE,
    PAPER,
    QUIET,
    SMALL,
    Picture,
    Size,
    fit,
    font,
    line_height,
    read,
    wrap,
)
from models.sheets.film import moment
from models.sheets.page import Page, Section, Tile, draw_page

UNWEIGHTED = 0.25  # how much of a picture shows where its loss has no weight


def captions_sheet(captions: Dataset[Caption], *pictures: object) -> Picture | None:
    """Show each text beside the crop that it describes.

    Args:
        captions: the texts.
        pictures: the stage's inputs; datasets of layers, plates and frames are looked into, others passed over.
    """
    datasets = [each for each in pictures if isinstance(each, Dataset)]
    tiles = [Tile(_beside(row, datasets)) for row in captions]
    mended = sum(bool(row.lint) for row in captions)
    lengths = [row.tokens for row in captions] or [0]
    note = (
        f"{min(lengths)} to {max(lengths)} tokens · {mended} mended · {len({row.text for row in captions})} different"
    )
    page = Page("Captions", "captions", note, aspect=0.34, columns=(2, 3), text_lines=0)
    return draw_page(page, [Section(tiles)])


def examples_sheet(examples: Dataset[Example], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show the training crops with their captions, those held out apart; what the loss does not weigh is dimmed."""
    sections = []
    for split, heading in (("train", "to learn from"), ("held_out", "held out")):
        rows = examples.where("split", split)
        tiles = [Tile(_weighed(examples, row), _below(row)) for row in rows]
        shots = len({row.shot for row in rows})
        sections.append(Section(tiles, heading, f"{len(rows)} examples of {shots} shot{'s' * (shots != 1)}"))
    masked = sum(row.mask is not None for row in examples)
    steps = sum(row.repeats for row in examples.where("split", "train"))
    note = f"{steps} pictures an epoch, repeats counted · {masked} with a mask"
    return draw_page(Page("Examples", "examples", note, columns=(5, 6), text_lines=4), sections)


def source_picture(row: Caption, datasets: list[Dataset[Any]]) -> Picture | None:
    """Return the crop that a caption describes, of the plate or the layer's frame; the cut-out where no frame is."""
    for dataset in datasets:
        source = dataset.by_id.get(row.source_id)
        if isinstance(source, Plate):
            return read(dataset.path(source.image)).crop(_whole_pixels(row))
        if isinstance(source, Layer):
            frames = next((each for each in datasets if each.record is Frame and source.frame_id in each.by_id), None)
            if frames is None:
                return read(dataset.path(source.cutout))
            return read(frames.path(frames.by_id[source.frame_id].image)).crop(_whole_pixels(row))
    return None


def _whole_pixels(row: Caption) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(edge) for edge in row.box)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _beside(row: Caption, datasets: list[Dataset[Any]]) -> Callable[[Size], Picture]:
    def draw_tile(size: Size) -> Picture:
        tile = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(tile)
        side = size[1]
        draw.rectangle((0, 0, side - 1, side - 1), fill=FAINT)
        picture = source_picture(row, datasets)
        if picture is None:
            draw.text((8, side // 2), "no picture", font=font(SMALL), fill=QUIET)
        else:
            small = fit(picture, (side, side))
            tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        x, width, step = side + 12, size[0] - side - 12, line_height(NOTE)
        facts = (moment(row), " · ".join([f"{row.tokens} tokens", *row.lint]))
        room = max(1, (side - len(facts) * line_height(SMALL) - 4) // step)
        for n, line in enumerate(wrap(row.text, width, font(NOTE), room)):
            draw.text((x, n * step), line, font=font(NOTE), fill=INK)
        for n, fact in enumerate(facts):
            line = wrap(fact, width, font(SMALL), 1)[0]
            draw.text((x, side - (len(facts) - n) * line_height(SMALL)), line, font=font(SMALL), fill=QUIET)
        return tile

    return draw_tile


def _below(row: Example) -> str:
    return f"{row.repeats} x {row.caption}" if row.repeats > 1 else row.caption


def _weighed(examples: Dataset[Example], row: Example) -> Callable[[Size], Picture]:
    def draw(size: Size) -> Picture:
        picture = fit(read(examples.path(row.image)), size)
        if row.mask is None:
            return picture
        with Image.open(examples.path(row.mask)) as opened:
            mask = opened.convert("L").resize(picture.size, Image.Resampling.BILINEAR)
        weight = np.asarray(mask, np.float32)[..., None] / 255
        shown = UNWEIGHTED + (1 - UNWEIGHTED) * weight
        mixed = np.asarray(picture) * shown + 255 * (1 - shown)
        return Image.fromarray(mixed.round().astype(np.uint8))

    return draw
