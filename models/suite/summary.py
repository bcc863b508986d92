"""What a LoRA changes, by category and strength: each measure with it, without it, and how sure the difference is."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from data_contracts.config import Config
from data_contracts.results import SuiteScores
from models.embed import Embeddings
from models.metrics.bootstrap import mean_interval
from models.metrics.diversity import mean_distance, vendi_score

FILE = "summary.json"
ALL = "all"
FOUND, LIKENESS, TEXT, SHARPNESS, COPIES = "found", "likeness", "text", "sharpness", "copies"
DIVERSITY, DISTANCE = "diversity", "distance"
DECIMALS = 5


class Effect(Config):
    """One measure of the pictures of a category at a strength, beside the pictures of the base alone."""

    measure: str
    value: float = Field(description="with the LoRA")
    base: float = Field(description="of the same prompts and seeds without it")
    difference: float
    low: float | None = Field(description="where the difference's 95% interval begins; None where there is none")
    high: float | None


class Cell(Config):
    """What the LoRA changes in one category, or in all, at one strength."""

    category: str
    strength: float
    pictures: int = Field(description="with the LoRA; as many without")
    effects: tuple[Effect, ...]

    def effect(self, measure: str) -> Effect | None:
        """Return the effect on a measure; None where it was not measured."""
        return next((effect for effect in self.effects if effect.measure == measure), None)


class SuiteSummary(Config):
    """The outcome of an evaluation suite; cells of all categories first, then by category."""

    lora: str
    cells: tuple[Cell, ...]
    absent: dict[str, str] = Field(description="measures that were not taken, and why")

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured, in order."""
        return tuple(dict.fromkeys(effect.measure for cell in self.cells for effect in cell.effects))

    @property
    def overall(self) -> tuple[Cell, ...]:
        """The cells of all categories together, by strength."""
        return tuple(cell for cell in self.cells if cell.category == ALL)


def summarise(
    lora: str, rows: Sequence[SuiteScores], vectors: Embeddings | None, absent: Mapping[str, str]
) -> SuiteSummary:
    """Compare the pictures at each strength with those of the base, prompt by prompt and seed by seed.

    Args:
        lora: its name.
        rows: what was measured on every picture, those at strength 0 among them.
        vectors: `(n, d)` unit rows of the pictures in the order of `rows`, for diversity; None without an embedder.
        absent: measures that were not taken, and why.
    """
    strengths = sorted({row.strength for row in rows} - {0.0})
    categories = list(dict.fromkeys(row.category for row in rows))
    cells = [
        _cell(category, strength, rows, vectors)
        for category in (ALL, *categories)
        for strength in strengths
        if category == ALL or len(categories) > 1
    ]
    return SuiteSummary(lora=lora, cells=tuple(cells), absent=dict(absent))


def write_summary(folder: Path, summary: SuiteSummary) -> None:
    """Write `summary.json`."""
    (folder / FILE).write_text(summary.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_summary(folder: Path) -> SuiteSummary:
    """Read `summary.json`."""
    return SuiteSummary.model_validate_json((folder / FILE).read_text(encoding="utf-8"))


def _cell(category: str, strength: float, rows: Sequence[SuiteScores], vectors: Embeddings | None) -> Cell:
    of_it = [n for n, row in enumerate(rows) if category in {ALL, row.category}]
    by_it = [n for n in of_it if rows[n].strength == strength]
    without = [n for n in of_it if rows[n].strength == 0]
    effects = list(_measured([rows[n] for n in by_it], [rows[n] for n in without]))
    if vectors is not None:
        effects += _differing(vectors[by_it], vectors[without])
    return Cell(category=category, strength=strength, pictures=len(by_it), effects=tuple(effects))


def _measured(by_it: Sequence[SuiteScores], without: Sequence[SuiteScores]) -> Iterator[Effect]:
    """Yield the effects on what is measured picture by picture."""
    after, before = ({(row.prompt, row.seed): measures_of(row) for row in each} for each in (by_it, without))
    prompts = list(dict.fromkeys(prompt for prompt, _ in after))
    seeds = list(dict.fromkeys(seed for _, seed in after))
    for measure in next(iter(after.values())):
        values, base = (
            np.array([[each[prompt, seed][measure] for seed in seeds] for prompt in prompts])
            for each in (after, before)
        )  # (prompts, seeds)
        interval = mean_interval(values - base)
        yield _effect(measure, float(values.mean()), float(base.mean())).model_copy(
            update={"low": round(interval.low, DECIMALS), "high": round(interval.high, DECIMALS)} if interval else {}
        )


def measures_of(row: SuiteScores) -> dict[str, float]:
    """Return what was measured on one picture by its name; whether it shows the subject, and copies, as 0 or 1."""
    found = {FOUND: float(row.findings[0].is_found)} if row.findings else {}
    copied = {} if row.copying is None else {COPIES: float(row.copying.is_copy)}
    return found | {score.measure: score.value for score in row.scores} | copied


def _differing(by_it: Embeddings, without: Embeddings) -> Iterator[Effect]:
    """Yield how much the pictures differ among themselves; there are no intervals: drawn anew, some are the same."""
    for measure, how in ((DIVERSITY, vendi_score), (DISTANCE, mean_distance)):
        value, base = how(by_it), how(without)
        if value is not None and base is not None:
            yield _effect(measure, value, base)


def _effect(measure: str, value: float, base: float) -> Effect:
    shown, before = round(value, DECIMALS), round(base, DECIMALS)
    difference = round(value - base, DECIMALS)
    return Effect(measure=measure, value=shown, base=before, difference=difference, low=None, high=None)
