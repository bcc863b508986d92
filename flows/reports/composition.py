"""What the report says of a composition test besides its pictures: who disturbs whom, and which weights are best."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts.composition import FILE, Composition
from flows.reports.pictures import Embedded
from models.metrics.interference import said
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
