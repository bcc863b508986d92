"""Scores as a person reads them, in the terminal and on pages."""

from collections.abc import Sequence

from data_contracts.comparison import Comparison

BY = " by "
LARGE = 10
_LEAST = 0.001


def number(value: float) -> str:
    """Return a score: those of 0 to 1 differ in the second or third decimal, large ones before the point."""
    return f"{value:.{_decimals(value)}f}"


def signed(value: float) -> str:
    """Return a difference with its sign; +0.000 rather than -0.000."""
    return f"{value:+z.{_decimals(value)}f}"


def chance(value: float | None) -> str:
    """Return how likely something is by chance; empty where nobody asked."""
    if value is None:
        return ""
    return f"< {_LEAST}" if value < _LEAST else f"{value:.3f}"


def verdict_of(numbers: Comparison) -> str:
    """Return in a sentence how many scores of the second run are better and worse."""
    judged = len(numbers.scores) - numbers.count("not judged")
    if not judged:
        return "no score says which run is better"
    counts = {word: numbers.count(word) for word in ("better", "worse", "no difference shown")}
    return f"of {judged} scores, " + ", ".join(f"{count} {word}" for word, count in counts.items())


def only_judge(numbers: Comparison) -> str:
    """Return the judge of all scores that have one, which need not name it then; empty where there are several."""
    judges = {score.measure.partition(BY)[2] for score in numbers.scores} - {""}
    return judges.pop() if len(judges) == 1 else ""


def where(stages: Sequence[str]) -> str:
    """Return stages, such as `Train LoRA: luca` and `Train LoRA: happy`, as `Train LoRA: luca, happy`."""
    labels: dict[str, list[str]] = {}
    for title in stages:
        stage, _, label = title.partition(": ")
        labels.setdefault(stage, []).append(label)
    return "; ".join(f"{stage}: {', '.join(names)}" if any(names) else stage for stage, names in labels.items())


def _decimals(value: float) -> int:
    return 1 if abs(value) >= LARGE else 3
