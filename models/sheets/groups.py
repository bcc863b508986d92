"""Sheets of how pictures were grouped: places, and who is who."""

from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.records import Identity, Layer, Place, Plate
from models.embed.suggestions import FILE as SUGGESTIONS
from models.embed.suggestions import read_suggestions
from models.sheets.drawing import Picture, Size, clock, fit, on_checkerboard, read
from models.sheets.film import moment
from models.sheets.page import Page, Section, Tile, draw_page

NOISE = "noise"
G = TypeVar("G", Place, Identity)


def places_sheet(places: Dataset[Place], plates: Dataset[Plate]) -> Picture | None:
    """Show the plates of each place, places by size, noise last; and what to look at, such as two that may be one."""
    sections, advice = [], advice_by_name(places)
    for name, rows in by_name(places).items():
        shown = [(row, plates.by_id[row.plate_id]) for row in rows if row.plate_id in plates.by_id]
        tiles = [Tile(_whole(plates, plate), f"{clock(row.time_s)} · {row.probability:.2f}") for row, plate in shown]
        shots = len({row.shot for row in rows})
        note = f"{len(rows)} plates of {shots} shot{'s' * (shots != 1)}{advice.get(name, '')}"
        sections.append(Section(tiles, name, note))
    note = f"{_named(places)} · below each picture: time · strength of membership"
    aspect = _aspect(plates)
    return draw_page(Page("Places", "plates", note, aspect=aspect, columns=(5, 6, 8)), sections)


def identities_sheet(identities: Dataset[Identity], layers: Dataset[Layer]) -> Picture | None:
    """Show the cut-outs of each character, characters by number of layers, noise last; and what to look at."""
    sections, advice = [], advice_by_name(identities)
    for name, rows in by_name(identities).items():
        shown = [(row, layers.by_id[row.layer_id]) for row in rows if row.layer_id in layers.by_id]
        tiles = [Tile(_cutout(layers, layer), moment(row)) for row, layer in shown]
        tracks = len({row.track for row in rows})
        similarity = sum(row.similarity for row in rows) / len(rows)
        known = f" · similarity to its references {similarity:.2f}" if similarity else ""
        note = f"{len(rows)} layers in {tracks} track{'s' * (tracks != 1)}{known}{advice.get(name, '')}"
        sections.append(Section(tiles, name, note))
    page = Page("Characters", "layers", _named(identities), aspect=1.3, columns=(6, 8))
    return draw_page(page, sections)


def advice_by_name(rows: Dataset[G]) -> dict[str, str]:
    """Return the stage's suggestions for each name, the first of each kind, as the end of a note."""
    advice: dict[str, dict[str, str]] = {}
    for suggestion in read_suggestions(rows.path(SUGGESTIONS)):
        for name in suggestion.names:
            advice.setdefault(name, {}).setdefault(suggestion.kind, f" · {suggestion.about(name)}")
    return {name: "".join(texts.values()) for name, texts in advice.items()}


def by_name(rows: Dataset[G]) -> dict[str, list[G]]:
    """Group rows by the name of their cluster, the largest group first, noise last."""
    groups: dict[str, list[G]] = {}
    for row in rows:
        groups.setdefault(
            NOISE if row.cluster < 0 and not row.name else row.name or f"cluster {row.cluster}", []
        ).append(row)
    return dict(sorted(groups.items(), key=lambda group: (group[0] == NOISE, -len(group[1]), group[0])))


def _named(rows: Dataset[G]) -> str:
    names = [name for name in by_name(rows) if name != NOISE]
    return f"{len(names)} group{'s' * (len(names) != 1)}"


def _aspect(plates: Dataset[Plate]) -> float:
    for row in plates:
        with Image.open(plates.path(row.image)) as picture:
            return min(2.0, picture.height / picture.width)
    return 9 / 16


def _whole(plates: Dataset[Plate], plate: Plate) -> Callable[[Size], Picture]:
    return lambda size: fit(read(plates.path(plate.image)), size)


def _cutout(layers: Dataset[Layer], layer: Layer) -> Callable[[Size], Picture]:
    def draw(size: Size) -> Picture:
        with Image.open(layers.path(layer.cutout)) as opened:
            cutout = fit(opened.convert("RGBA"), size)
        whole = Image.new("RGBA", size)
        whole.paste(cutout, ((size[0] - cutout.width) // 2, (size[1] - cutout.height) // 2))
        return on_checkerboard(whole)

    return draw
