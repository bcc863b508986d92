"""A suite's summary in words, and as a page of Markdown."""

from collections.abc import Sequence
from pathlib import Path

from data_contracts.results import SuiteScores
from models.suite.summary import COPIES, DISTANCE, DIVERSITY, FOUND, TEXT, Cell, Effect, SuiteSummary

FILE = "summary.md"
MOST_COPIES = 20
SHARES = {FOUND, COPIES}


def sentence(cell: Cell) -> str:
    """Return what the LoRA does at one strength, as one would say it."""
    said = [f"{_called(effect.measure)} {_change(effect)}" for effect in cell.effects if effect.measure != COPIES]
    if (copied := cell.effect(COPIES)) is not None:
        count = round(copied.value * cell.pictures)
        said.append(f"copying {f'{count} of {cell.pictures} pictures' if count else 'none'}")
    return f"strength {cell.strength:g}, against the base: {'; '.join(said)}"


def shown(effect: Effect) -> str:
    """Return a value with its difference to the base, for a table's cell."""
    change = f"{100 * effect.difference:+.0f}" if effect.measure in SHARES else _signed(effect.difference, effect)
    return f"{_number(effect.value, effect)} ({change})"


def markdown(summary: SuiteSummary, rows: Sequence[SuiteScores]) -> str:
    """Return the page: sentences, a table, what was not measured, and which pictures repeat training pictures."""
    lines = [f"# {summary.lora}", "", *(f"- {sentence(cell)}" for cell in summary.overall), ""]
    lines += ["With the LoRA, and in brackets the difference to the same prompts and seeds without it.", ""]
    lines += [
        _row(["category", "strength", "pictures", *summary.measures]),
        _row(["---"] * (3 + len(summary.measures))),
    ]
    for cell in summary.cells:
        effects = (cell.effect(measure) for measure in summary.measures)
        values = [shown(effect) if effect else "" for effect in effects]
        lines.append(_row([cell.category, f"{cell.strength:g}", str(cell.pictures), *values]))
    lines += _listed("Not measured", [f"{name}: {why}" for name, why in summary.absent.items()])
    lines += _listed("Pictures that repeat a training picture", _copies(rows))
    return "\n".join(lines) + "\n"


def write_words(folder: Path, summary: SuiteSummary, rows: Sequence[SuiteScores]) -> None:
    """Write `summary.md`."""
    (folder / FILE).write_text(markdown(summary, rows), encoding="utf-8")


def _copies(rows: Sequence[SuiteScores]) -> list[str]:
    found = [
        f"{row.picture_id} repeats {row.copying.nearest}: {row.copying.to_training:.2f} from it, "
        f"{row.copying.to_held_out:.2f} from what is held out"
        for row in rows
        if row.copying is not None and row.copying.is_copy
    ]
    return found[:MOST_COPIES] + ([f"and {len(found) - MOST_COPIES} more"] if len(found) > MOST_COPIES else [])


def _called(measure: str) -> str:
    """Return a measure as a sentence calls it: `likeness dinov2-base` is likeness by dinov2-base."""
    what, _, by = measure.partition(" ")
    names = {TEXT: "text score", DIVERSITY: "diversity", DISTANCE: "distance of pictures to one another"}
    return names.get(what, what) + (f" by {by}" if by else "")


def _change(effect: Effect) -> str:
    """Return a difference and its interval; both values where one alone says more."""
    if effect.low is None or effect.high is None:
        before = f"not {_number(effect.base, effect)}" if effect.difference else "as before"
        return f"{_number(effect.value, effect)}, {before}"
    if effect.measure == FOUND:
        points = f"{100 * effect.difference:+.0f} points ({100 * effect.low:+.0f} to {100 * effect.high:+.0f})"
        return f"in {effect.value:.0%}, {points}"
    difference, low, high = (_signed(value, effect) for value in (effect.difference, effect.low, effect.high))
    return f"{difference} ({low} to {high})"


def _signed(value: float, effect: Effect) -> str:
    """Return a difference with its sign; +0.00 rather than -0.00."""
    return f"{round(value, _digits(effect)) + 0.0:+.{_digits(effect)}f}"


def _number(value: float, effect: Effect) -> str:
    return f"{value:.0%}" if effect.measure in SHARES else f"{value:.{_digits(effect)}f}"


def _digits(effect: Effect) -> int:
    """Return how many decimals tell: cosines differ in the second or third, sharpness is in the hundreds."""
    return 0 if abs(effect.base) >= 10 else 3 if abs(effect.base) < 1 else 2  # noqa: PLR2004


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {item}" for item in items)] if items else []
