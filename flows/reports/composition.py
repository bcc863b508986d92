"""What the report says of stacked LoRAs besides pictures: who disturbs whom, the best weights, who stays apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts import characters, stacking
from data_contracts.composition import FILE, Composition
from flows.reports.pictures import Embedded
from models.metrics import stacking_ways
from models.metrics.interference import said
from models.metrics.separation import NAMES
from models.sheets.composition import FIGURE, in_words


@dataclass(frozen=True)
class Stacked:
    """The numbers of a composition test, their figure, and the figure in words."""

    numbers: Composition
    figure: Embedded | None
    words: str
    gain: str  # of the recommended weights to the given ones, with its interval; empty where they are the same


def figure_of(folder: Path) -> list[Path]:
    """Return the figure that a composition test left in its folder, if it did."""
    return [path for path in [folder / FIGURE] if path.is_file()]


def stacked_of(folder: Path, pictures: Mapping[Path, Embedded]) -> list[Stacked]:
    """Return the numbers that a composition test left in its folder; none where an older version left none."""
    if not (folder / FILE).is_file():
        return []
    numbers = Composition.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    gain = said(numbers.search.gain) if numbers.search and numbers.search.gain else ""
    return [Stacked(numbers, pictures.get(folder / FIGURE), in_words(numbers), gain)]


@dataclass(frozen=True)
class Ways:
    """The ways of stacking beside one another: their sheet, their numbers, and the table of these in words."""

    numbers: stacking.StackingWays
    sheet: Embedded | None
    rows: tuple[tuple[str, str, stacking.StackingWay, str], ...]  # way, weights, figures, change of the score

    @property
    def words(self) -> str:
        """What the sheet shows, for those who cannot see it."""
        ways = ", ".join(way for way, *_ in self.rows)
        return f"All LoRAs stacked: a row for each seed, a column for each of {ways}"


def ways_of(folder: Path, pictures: Mapping[Path, Embedded]) -> list[Ways]:
    """Return what a comparison of ways of stacking left in its folder."""
    numbers = stacking.StackingWays.model_validate_json((folder / stacking.FILE).read_text(encoding="utf-8"))
    rows = tuple(
        (
            stacking_ways.NAMES[way.name],
            stacking_ways.weights_in_words(way),
            way,
            said(way.change) if way.change else "",
        )
        for way in numbers.ways
    )
    return [Ways(numbers, pictures.get(folder / "sheet.jpg"), rows)]


@dataclass(frozen=True)
class Together:
    """The test of several characters in one picture: its sheet, its numbers, and the table of these in words."""

    numbers: characters.Characters
    sheet: Embedded | None
    rows: tuple[tuple[str, characters.Separation, str], ...]  # way of stacking, its figures, the bleed's change

    @property
    def words(self) -> str:
        """What the sheet shows, for those who cannot see it."""
        ways = ", ".join(dict.fromkeys(way for way, _, _ in self.rows)) or "every way of stacking"
        names = " and ".join(self.numbers.loras)
        return f"{names} in one picture: a row for each seed, a column for each of {ways}"


def together_of(folder: Path, pictures: Mapping[Path, Embedded]) -> list[Together]:
    """Return what a test of several characters left in its folder."""
    numbers = characters.Characters.model_validate_json((folder / characters.FILE).read_text(encoding="utf-8"))
    rows = tuple((NAMES[each.method], each, said(each.change) if each.change else "") for each in numbers.separations)
    return [Together(numbers, pictures.get(folder / "sheet.jpg"), rows)]
