"""Sheets of what was cut out of the film: frames, the characters' layers, the plates behind them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, OfFrame, Plate
from data_contracts.stages import FilmSource
from models.sheets.drawing import (
    BLUE,
    CHECKS,
    FAINT,
    GREEN,
    MAGENTA,
    ORANGE,
    PAPER,
    TRACKS,
    Colour,
    Picture,
    Size,
    clock,
    fit,
    read,
    tag,
)
from models.sheets.page import Page, Section, Tile, draw_page

ORIGINS = (FAINT, GREEN, MAGENTA, BLUE, ORANGE)
"""By the classes of Plate.provenance: own, neighbour, network, other shot, unsure."""
TRIPLE_GAP = 4


def frames_sheet(frames: Dataset[Frame], films: Sequence[FilmSource]) -> Picture | None:
    """Show the sampled frames in time order; a coloured strip joins the frames of a shot."""
    several = len({row.film for row in frames}) > 1
    tiles = [
        Tile(_fitted(frames.path(row.image)), moment(row, film=several), band=row.shot)
        for row in sorted(frames, key=lambda row: (row.film, row.frame))
    ]
    shots = len({row.shot for row in frames})
    note = f"{shots} shot{'s' * (shots != 1)} · {', '.join(film.path.name for film in films)}"
    page = Page("Frames", "frames", note, aspect=aspect_of(frames), columns=(4, 6, 8))
    return draw_page(page, [Section(tiles)])


def layers_sheet(layers: Dataset[Layer], frames: Dataset[Frame]) -> Picture | None:
    """Show the frames that have characters, each character tinted and outlined in its track's colour."""
    by_frame = layers.groups("frame_id")
    colours = track_colours(layers)
    tiles = [
        Tile(_overlaid(frames, row, by_frame[row.id], colours), moment(row), band=row.shot)
        for row in frames
        if row.id in by_frame
    ]
    tracks = len({row.track for row in layers})
    note = f"{len(layers)} layers in {tracks} tracks · nobody in {len(frames) - len(tiles)} frames"
    page = Page("Layers", "frames with characters", note, aspect=aspect_of(frames), columns=(4, 5, 6))
    return draw_page(page, [Section(tiles)])


def plates_sheet(plates: Dataset[Plate], frames: Dataset[Frame], layers: Dataset[Layer], *_: object) -> Picture | None:
    """Show frame, plate and where the plate's pixels came from, beside one another."""
    with_holes = plates.select(lambda row: row.hole_share > 0)
    chosen = with_holes if len(with_holes) else plates
    tiles = [Tile(_triple(chosen, row, frames), plate_caption(row)) for row in chosen]
    characters = {row.frame_id for row in layers}
    note = f"{len(plates)} plates, of which {len(with_holes)} had a hole · characters in {len(characters)} frames"
    page = Page(
        "Plates: frame, plate, origin of its pixels",
        "plates with a hole" if len(with_holes) else "plates",
        note,
        aspect=aspect_of(frames) / 3,
        columns=(1, 2),
        legend=(
            (CHECKS[1], "own pixel (dimmed)"),
            (GREEN, "of a neighbouring frame"),
            (BLUE, "of another shot"),
            (ORANGE, "frames disagree"),
            (MAGENTA, "made by the network"),
        ),
    )
    return draw_page(page, [Section(tiles)])


def moment(row: OfFrame, *, film: bool = False) -> str:
    """Return a row's shot and time in words, such as `shot 3 · 0:04.5`."""
    name, _, shot = row.shot.rpartition(":s")
    number = int(shot) if shot.isdigit() else shot
    return f"{name + ' ' if film else ''}shot {number} · {clock(row.time_s)}"


def aspect_of(frames: Dataset[Frame]) -> float:
    """Return the height of the first frame over its width."""
    first = next(iter(frames), None)
    return 9 / 16 if first is None else min(2.0, first.height / first.width)


def track_colours(layers: Dataset[Layer]) -> dict[str, Colour]:
    """Give each track a colour; tracks of one shot differ as long as colours last."""
    colours: dict[str, Colour] = {}
    seen: dict[str, int] = {}
    for row in layers:
        if row.track not in colours:
            colours[row.track] = TRACKS[seen.get(row.shot, 0) % len(TRACKS)]
            seen[row.shot] = seen.get(row.shot, 0) + 1
    return colours


def overlay(picture: Picture, mask: Picture, colour: Colour) -> Picture:
    """Tint what the mask covers and draw its outline; both of the picture's size, the mask 8-bit."""
    solid = mask.point(lambda value: 255 if value >= 128 else 0)  # noqa: PLR2004 - the contract's threshold
    outline = np.asarray(solid.filter(ImageFilter.MaxFilter(3))) > np.asarray(solid.filter(ImageFilter.MinFilter(3)))
    pixels = np.asarray(picture).astype(np.float32)
    inside = np.asarray(solid) > 0
    pixels[inside] = 0.6 * pixels[inside] + 0.4 * np.array(colour, np.float32)
    pixels[outline] = colour
    return Image.fromarray(pixels.astype(np.uint8))


def muted(picture: Picture) -> Picture:
    """Take out most of the colour, so that colours laid over it are seen."""
    return Image.blend(picture.convert("L").convert("RGB"), picture, 0.35)


def origins(plate: Picture, provenance: Picture) -> Picture:
    """Colour a plate by where its pixels came from: own ones dimmed, the others as `ORIGINS` says."""
    classes = np.asarray(provenance.resize(plate.size, Image.Resampling.NEAREST))
    pixels = np.asarray(plate).astype(np.float32)
    dimmed = 0.35 * pixels + 0.65 * np.array(FAINT, np.float32)
    tinted = 0.3 * pixels + 0.7 * np.array(ORIGINS, np.float32)[classes]
    return Image.fromarray(np.where(classes[..., None] == 0, dimmed, tinted).astype(np.uint8))


def plate_caption(row: Plate) -> str:
    """Return the shares of a plate in words."""
    shares = f"shot {row.neighbour_share:.0%}, other shots {row.other_shot_share:.0%}"
    unsure, made_up = (of_hole(row, share) for share in (row.unsure_share, row.invented_share))
    return f"{moment(row)} · hole {row.hole_share:.0%}: {shares}, unsure {unsure:.0%}, made up {made_up:.0%}"


def of_hole(row: Plate, share: float) -> float:
    """Return a share of the picture, all of it in the hole, as a share of the hole."""
    return min(1.0, share / row.hole_share) if row.hole_share else 0.0


def _fitted(path: Path) -> Callable[[Size], Picture]:
    return lambda size: fit(read(path), size)


def _overlaid(
    frames: Dataset[Frame], frame: Frame, layers: Dataset[Layer], colours: dict[str, Colour]
) -> Callable[[Size], Picture]:
    def draw(size: Size) -> Picture:
        picture = muted(fit(read(frames.path(frame.image)), size))
        for row in layers:
            with Image.open(layers.path(row.mask)) as mask:
                small = mask.convert("L").resize(picture.size, Image.Resampling.BILINEAR)
            picture = overlay(picture, small, colours[row.track])
        for row in layers:
            scale = picture.width / frame.width
            at = (round(row.box[0] * scale), round(row.box[1] * scale))
            tag(picture, at, row.track.rpartition(":")[2], colours[row.track])
        return picture

    return draw


def _triple(plates: Dataset[Plate], row: Plate, frames: Dataset[Frame]) -> Callable[[Size], Picture]:
    def draw(size: Size) -> Picture:
        box = ((size[0] - 2 * TRIPLE_GAP) // 3, size[1])
        plate = read(plates.path(row.image))
        with Image.open(plates.path(row.provenance)) as opened:
            coloured = origins(plate, opened.convert("L"))
        frame = frames.by_id.get(row.frame_id)
        original = Image.new("RGB", plate.size, FAINT) if frame is None else read(frames.path(frame.image))
        strip = Image.new("RGB", size, PAPER)
        for n, picture in enumerate((original, plate, coloured)):
            strip.paste(fit(picture, box), (n * (box[0] + TRIPLE_GAP), 0))
        return strip

    return draw
