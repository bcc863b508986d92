"""The page of a comparison: the scores with their intervals drawn, what differs, and the pictures that changed most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from data_contracts.comparison import PairedScore
from flows.comparison.compare_runs import Compared
from flows.comparison.paired_samples import Pair, PairedSample
from flows.comparison.run_scores import better
from flows.comparison.score_words import BY, chance, number, only_judge, signed, verdict_of, where
from flows.reports.pages import page_template, write_page
from flows.reports.pictures import embed
from models.metrics.interference import LEAST
from models.sheets.drawing import read

MOST_PAIRS, MOST_OF_ONE = 12, 4
"""Pairs that are shown of each kind, and how many of them may be of the same LoRAs."""
Kind = Literal["worse", "better", "changed"]


@dataclass(frozen=True)
class Shown:
    """A pair of pictures on the page."""

    pair: Pair
    sample: PairedSample
    measure: str  # that it is shown for; empty where the pictures have no judge
    change: float  # of the measure, or of the pixels, 0..255

    @property
    def words(self) -> str:
        """Return what changed."""
        if not self.measure:
            return f"pixels differ by {self.change:.1f} of 255"
        before, after = (each.scores[self.measure] for each in (self.pair.a, self.pair.b))
        return f"{self.measure.partition(BY)[0]}: {before:.2f} to {after:.2f} ({after - before:+z.2f})"


@dataclass(frozen=True)
class Span:
    """Where a score's interval is drawn, in percent of the width; 50 is no difference."""

    middle: float
    low: float
    high: float


def write_comparison(compared: Compared, path: Path) -> Path:
    """Write the page; return its path."""
    numbers = compared.numbers
    shown, judge = changed_most(compared.samples), only_judge(numbers)
    images = [each.image for group in shown.values() for s in group for each in (s.pair.a, s.pair.b) if each.image]
    page = page_template("comparison.html.j2").render(
        numbers=numbers,
        verdict=verdict_of(numbers),
        tests=by_test([score for score in numbers.scores if score.verdict != "not judged"]),
        others=by_test([score for score in numbers.scores if score.verdict == "not judged"]),
        spans=spans_of(numbers.scores),
        shown=shown,
        pictures=embed(images),
        number=number,
        signed=signed,
        chance=chance,
        where=where,
        judge=judge,
        named=lambda measure: measure.removesuffix(BY + judge),
    )
    return write_page(page, path, path.stem)


def by_test(scores: Sequence[PairedScore]) -> dict[str, list[PairedScore]]:
    """Return scores grouped by what they test, in order."""
    grouped: dict[str, list[PairedScore]] = {}
    for score in scores:
        grouped.setdefault(score.of, []).append(score)
    return grouped


def spans_of(scores: Sequence[PairedScore]) -> dict[PairedScore, Span]:
    """Return where each interval is drawn; scores of the same kind, such as all that end in a judge, share a scale."""
    widest: dict[str, float] = {}
    for score in scores:
        kind = score.measure.partition(" ")[0]
        ends = (score.difference, score.low or 0.0, score.high or 0.0)
        widest[kind] = max(widest.get(kind, 0.0), *map(abs, ends))
    return {score: _span(score, widest[score.measure.partition(" ")[0]]) for score in scores}


def _span(score: PairedScore, widest: float) -> Span:
    ends = (score.difference, *(score.difference if end is None else end for end in (score.low, score.high)))
    return Span(*(round(50 + (48 * end / widest if widest else 0), 2) for end in ends))


def changed_most(samples: Sequence[PairedSample]) -> Mapping[Kind, list[Shown]]:
    """Return the pairs of pictures that lost most, and that gained most, by their first score with a good direction.

    Where nothing was judged, those whose pixels changed most.
    """
    groups: dict[Kind, list[Shown]] = {"worse": [], "better": [], "changed": []}
    for sample in samples:
        measure = next((name for name in sample.measures if better(name) != "neither"), "")
        found = [_shown(pair, sample, measure) for pair in sample.pairs if pair.a.image and pair.b.image]
        gains = [each for each in found if each.change >= LEAST]
        groups["better" if measure else "changed"] += _largest(gains, MOST_OF_ONE)
        groups["worse"] += _largest([each for each in found if each.change <= -LEAST], MOST_OF_ONE)
    return {kind: _largest(group, MOST_PAIRS) for kind, group in groups.items()}


def _shown(pair: Pair, sample: PairedSample, measure: str) -> Shown:
    if not measure:
        return Shown(pair, sample, "", _pixel_change(pair))
    gain = pair.b.scores[measure] - pair.a.scores[measure]
    return Shown(pair, sample, measure, gain if better(measure) == "higher" else -gain)


def _largest(shown: Sequence[Shown], most: int) -> list[Shown]:
    return sorted(shown, key=lambda each: -abs(each.change))[:most]


def _pixel_change(pair: Pair) -> float:
    """Return the mean absolute difference, 0..255; the second picture is scaled where their sizes differ."""
    if pair.a.image is None or pair.b.image is None:
        return 0.0
    before, after = read(pair.a.image), read(pair.b.image)
    scaled = after if after.size == before.size else after.resize(before.size)
    return float(np.abs(np.asarray(before, np.int16) - np.asarray(scaled, np.int16)).mean())
