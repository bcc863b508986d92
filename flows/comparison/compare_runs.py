"""Two runs compared: every score that both have for the same LoRAs, prompt and seed is one pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.comparison import ComparedRun, Comparison, PairedScore, RunDifference, SingleFigure, Verdict
from data_contracts.composition import FEWEST_SEEDS
from data_contracts.faults import InputFault
from flows.comparison.find_run import FoundRun
from flows.comparison.paired_samples import PairedSample, left_out, pair
from flows.comparison.run_differences import BASE_MODEL, DATA_SET, differences_of
from flows.comparison.run_scores import Sample, better, figures_of, samples_of
from models.metrics.bootstrap import Interval, mean_interval
from models.metrics.paired import LEVEL, fewest_units, holm, sign_flip_chance
from models.suite.summary import COPIES, LIKENESS

DECIMALS = 5


@dataclass(frozen=True)
class Compared:
    """The numbers of a comparison, and the pairs that they are of."""

    numbers: Comparison
    samples: tuple[PairedSample, ...]


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class _Difference:
    sample: PairedSample
    measure: str
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    @property
    def between(self) -> NDArray[np.float64]:
        return self.b - self.a


def compare_runs(a: FoundRun, b: FoundRun) -> Compared:
    """Compare the second run with the first.

    A score is called better or worse where its 95 % interval lies on one side of 0 and its chance, corrected for the
    number of comparisons, is at most one in twenty; see `models/metrics/paired.py`.

    Raises:
        InputFault: they are the same run, have no pictures of the same LoRAs, or none from the same seeds.
        StaleRows: another version of reel2lora wrote a result.
    """
    if (a.workspace, a.record.name) == (b.workspace, b.record.name):
        message = f"{a.record.name} is compared with itself: name two runs"
        raise InputFault(message)
    of_a, of_b = samples_of(a), samples_of(b)
    common = [title for title in of_a if title in of_b]
    if not common:
        raise InputFault(_nothing_in_common(a, b, of_a, of_b))
    paired: list[PairedSample] = []
    notes: list[str] = []
    for title in common:
        found = pair(of_a[title], of_b[title])
        if isinstance(found, str):
            notes.append(f"{of_b[title].of}: {found}")
        else:
            paired.append(found)
            notes += left_out(found, of_a[title], of_b[title])
    notes = list(dict.fromkeys(notes))  # what holds for one set of weights mostly holds for all
    if not paired:
        remedy = "give both runs the same data, `evaluate.seeds` and `compose_loras.seeds`"
        message = f"{a.record.name} and {b.record.name} cannot be paired: {'; '.join(notes)}. {remedy}"
        raise InputFault(message)
    changed = [sample for sample in paired if not all(each.is_same for each in sample.pairs)]
    scores = tuple(scores_of(changed))
    for run, more, less in ((a, of_a, of_b), (b, of_b, of_a)):
        if alone := list(_alone(more, less)):
            notes.append(f"only {run.record.name} has: {'; '.join(dict.fromkeys(alone))}")
    differences = differences_of(a, b)
    numbers = Comparison(
        a=_named(a),
        b=_named(b),
        scores=scores,
        figures=tuple(_figures(figures_of(a), figures_of(b))),
        same=tuple(sample.sample.title for sample in paired if sample not in changed),
        differences=differences,
        notes=(*notes, *_too_few(changed, scores), *_cautions(changed, scores, differences)),
    )
    return Compared(numbers, tuple(changed))


def scores_of(samples: Sequence[PairedSample]) -> Iterator[PairedScore]:
    """Yield every measure of all pairs, with its verdict."""
    found = [_Difference(sample, name, *sample.values(name)) for sample in samples for name in sample.measures]
    judged = [each for each in found if better(each.measure) != "neither"]
    chances = dict(zip(judged, holm([sign_flip_chance(each.between) for each in judged]), strict=True))
    for each in found:
        chance = chances.get(each)
        interval = mean_interval(each.between)
        yield PairedScore(
            of=each.sample.sample.of,
            variant=each.sample.sample.variant,
            measure=each.measure,
            better=better(each.measure),
            mean_a=round(float(each.a.mean()), DECIMALS),
            mean_b=round(float(each.b.mean()), DECIMALS),
            difference=round(float(each.between.mean()), DECIMALS),
            low=round(interval.low, DECIMALS) if interval else None,
            high=round(interval.high, DECIMALS) if interval else None,
            pairs=len(each.sample.pairs),
            chance=chance,
            verdict=_verdict(each, chance, interval),
        )


def _verdict(each: _Difference, chance: float | None, interval: Interval | None) -> Verdict:
    if chance is None:
        return "not judged"
    mean = float(each.between.mean())
    low, high = (interval.low, interval.high) if interval else (mean, mean)
    if chance > LEVEL or low <= 0 <= high:
        return "no difference shown"
    return "better" if (mean > 0) == (better(each.measure) == "higher") else "worse"


def _alone(more: Mapping[str, Sample], less: Mapping[str, Sample]) -> Iterator[str]:
    """Yield what only the first run has: a LoRA or the stack where that is missing as a whole, else its variants."""
    known = {sample.of for sample in less.values()}
    for title, sample in more.items():
        if title not in less:
            yield title if sample.of in known else sample.of


def _too_few(samples: Sequence[PairedSample], scores: Sequence[PairedScore]) -> Iterator[str]:
    """Yield a note where so few prompts and seeds cannot show any difference among so many comparisons."""
    judged = sum(score.chance is not None for score in scores)
    least = fewest_units(judged)
    few = [each.sample.of for each in samples if max(each.prompts, each.seeds) < least]
    if judged and few:
        yield (
            f"with {judged} comparisons at least {least} seeds or prompts are needed before any difference can be told "
            f"from chance; too few of: {', '.join(dict.fromkeys(few))}"
        )
    if samples and not judged:
        yield "no score of both runs has a good direction: name a judge, `evaluate.judge` and `compose_loras.judge`"


def _cautions(
    samples: Sequence[PairedSample], scores: Sequence[PairedScore], differences: Sequence[RunDifference]
) -> Iterator[str]:
    """Yield how far the verdicts reach, and what else than the LoRAs may have moved the scores."""
    drawn = {each.sample.of: each.seeds for each in samples if each.prompts > each.seeds and each.has_pictures}
    for of, seeds in drawn.items():
        if seeds < FEWEST_SEEDS:
            yield f"{of}: verdicts are of the {seeds} drawn seeds; fewer than {FEWEST_SEEDS} say little of others"
    differing = {each.what for each in differences}
    if BASE_MODEL in differing:
        yield "the base models differ: scores are of base and LoRAs together"
    if DATA_SET in differing and any(score.measure.startswith((LIKENESS, COPIES)) for score in scores):
        yield "the data sets differ: likeness and copies are to each run's own pictures of the subject"


def _figures(a: Mapping[tuple[str, str], float], b: Mapping[tuple[str, str], float]) -> Iterator[SingleFigure]:
    for of, name in a:
        if (of, name) in b:
            yield SingleFigure(of=of, figure=name, better=better(name), a=a[of, name], b=b[of, name])


def _nothing_in_common(a: FoundRun, b: FoundRun, of_a: Mapping[str, Sample], of_b: Mapping[str, Sample]) -> str:
    has = (f"{run.record.name} has {', '.join(of) or 'none'}" for run, of in ((a, of_a), (b, of_b)))
    return (
        f"the runs have no scored pictures of the same LoRAs: {'; '.join(has)}. Compare runs that drew the same tests"
    )


def _named(run: FoundRun) -> ComparedRun:
    record = run.record
    return ComparedRun(
        name=record.name,
        project=record.project,
        workspace=run.workspace.name,
        started_at=record.started_at,
        state=record.state,
    )
