"""What the report shows of an evaluation suite: what its LoRA changes in words, by category, and as pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.reports.pictures import Embedded
from models.suite.summary import FILE, Cell, SuiteSummary, read_summary
from models.suite.words import sentence, shown


@dataclass(frozen=True)
class Suite:
    """The outcome of a suite and its sheet."""

    numbers: SuiteSummary
    sheet: Embedded | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the LoRA changes over all categories, a sentence a strength."""
        return tuple(sentence(cell) for cell in self.numbers.overall)

    def values(self, cell: Cell) -> dict[str, str]:
        """Return a row of the table: each measure with its difference to the base, empty where it was not taken."""
        effects = {measure: cell.effect(measure) for measure in self.numbers.measures}
        return {measure: shown(effect) if effect else "" for measure, effect in effects.items()}


def suites_of(folder: Path, pictures: Mapping[Path, Embedded]) -> list[Suite]:
    """Return what a suite left in its folder; none where another version left no summary."""
    return [Suite(read_summary(folder), pictures.get(folder / "sheet.jpg"))] if (folder / FILE).is_file() else []
