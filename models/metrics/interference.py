"""Who disturbs whom in a stack of LoRAs: what adding one does to how likely the pictures show another's subject.

Pictures of two sets of weights are compared seed by seed: the same noise, and the same prompt, with a LoRA and without
it. So what a seed is good or bad at cancels out. Intervals: Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
13, over seeds. Each is a 95 % interval of its own: of forty comparisons without any effect, one or two look like one.
What is said in sentences has to be of some size as well.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.composition import ALL, BASE, FEWEST_SEEDS, Change, Effect, Redundancy, Where, only, pair, without
from data_contracts.results import StackPicture
from models.metrics.bootstrap import mean_interval

SHARED = 0.5
"""Two LoRAs write into the same directions where each could write at least this share of the other's change."""
LEAST = 0.02
"""Smaller changes are not spoken of, however sure they are: nobody sees them in pictures."""
DECIMALS = 4
Scores = Mapping[str, Mapping[int, Mapping[str, float]]]
"""How likely a picture shows each LoRA's subject, 0..1: by set of weights, seed and LoRA."""


def scores_of(pictures: Sequence[StackPicture]) -> Scores:
    """Return the scores of judged pictures; those that nobody judged are left out."""
    scores: dict[str, dict[int, dict[str, float]]] = {}
    for row in pictures:
        if row.findings:
            scores.setdefault(row.variant, {})[row.seed] = {each.lora: each.probability for each in row.findings}
    return scores


def paired_change(after: NDArray[np.float64], before: NDArray[np.float64]) -> Change:
    """Return the mean of `after - before`, both (seeds,), each seed against itself."""
    differences = after - before
    interval = mean_interval(differences[None])
    return Change(
        mean=round(float(differences.mean()), DECIMALS),
        low=None if interval is None else round(interval.low, DECIMALS),
        high=None if interval is None else round(interval.high, DECIMALS),
        seeds=len(differences),
    )


def effects(scores: Scores, loras: Sequence[str]) -> tuple[Effect, ...]:
    """Return what each of `loras` does to each subject that was judged, where the pictures for it were drawn.

    Alone: against the base model. In a pair: "A + B" against "only A". In the stack: all against all without it; there
    what a LoRA does to its own subject is its marginal gain, and to another's, below 0, how much it disturbs.
    """
    return tuple(_effects(scores, loras))


def _effects(scores: Scores, loras: Sequence[str]) -> Iterator[Effect]:
    judged = list(dict.fromkeys(name for seeds in scores.values() for each in seeds.values() for name in each))
    for of in judged:
        for by in loras:
            sets: dict[Where, tuple[str, str]] = {"alone": (only(by), BASE), "stack": (ALL, without(by))}
            if of != by:
                both = next((name for name in (pair(of, by), pair(by, of)) if name in scores), "")
                sets["pair"] = both, only(of)
            for where, (after, before) in sets.items():
                if seeds := sorted(set(scores.get(after, {})) & set(scores.get(before, {}))):
                    values = (np.array([scores[name][seed][of] for seed in seeds]) for name in (after, before))
                    yield Effect(of=of, by=by, where=where, change=paired_change(*values))


def redundant(found: Sequence[Effect], shared: Mapping[tuple[str, str], float]) -> tuple[Redundancy, ...]:
    """Return the pairs of LoRAs that do the same: either can be left out, and their weights say the same.

    Args:
        found: effects; a pair counts only where each LoRA does something alone and neither adds to the stack.
        shared: by pair, the lesser of the two shares of their changes that the other could write.
    """
    gains = {(each.of, each.where): each.change for each in found if each.of == each.by}
    able = {lora for (lora, where), change in gains.items() if where == "alone" and change.is_higher}
    idle = {lora for (lora, where), change in gains.items() if where == "stack" and not _raises(change)}
    return tuple(
        Redundancy(loras=(a, b), shared=round(min(1.0, share), DECIMALS))
        for (a, b), share in shared.items()
        if share >= SHARED and {a, b} <= able & idle
    )


def verdicts(found: Sequence[Effect], same: Sequence[Redundancy]) -> tuple[str, ...]:
    """Return in sentences who disturbs whom in the stack, who disturbs nobody, and who does the same."""
    stack = [each for each in found if each.where == "stack"]
    seeds = stack[0].change.seeds if stack else FEWEST_SEEDS
    if seeds < FEWEST_SEEDS:
        return (f"{seeds} seeds are too few to say who disturbs whom: draw at least {FEWEST_SEEDS}",)
    lines = [f"{each.by} lowers {each.of}'s score by {_size(each.change)}" for each in _disturbing(stack)]
    disturbed = {each.of for each in _disturbing(stack)}
    others = dict.fromkeys(each.of for each in stack if each.of != each.by)
    lines += [f"nothing disturbs {of}, as far as {seeds} seeds can tell" for of in others if of not in disturbed]
    for each in stack:
        if each.of != each.by and _raises(each.change):
            lines.append(f"{each.by} raises {each.of}'s score by {_size(each.change)}")
        elif each.of == each.by and _raises(each.change):
            lines.append(f"{each.by} adds {_size(each.change)} to its own score in the stack")
        elif each.of == each.by:
            lines.append(f"{each.by} does not raise its own score in the stack: {said(each.change)}")
    for two in same:
        a, b = two.loras
        lines.append(f"{a} and {b} do the same, {two.shared:.0%} of their changes are common: leave one of them out")
    return tuple(lines)


def said(change: Change) -> str:
    """Return a change with its sign, and its interval, such as `-0.21 (-0.30 to -0.12)`."""
    interval = "" if change.low is None or change.high is None else f" ({change.low:+z.2f} to {change.high:+z.2f})"
    return f"{change.mean:+z.2f}{interval}"


def _disturbing(stack: Sequence[Effect]) -> list[Effect]:
    found = [each for each in stack if each.of != each.by and each.change.is_lower and each.change.mean <= -LEAST]
    return sorted(found, key=lambda each: each.change.mean)


def _raises(change: Change) -> bool:
    return change.is_higher and change.mean >= LEAST


def _size(change: Change) -> str:
    """Return a change without its sign, and its interval."""
    ends = sorted(abs(end) for end in (change.low, change.high) if end is not None)
    return f"{abs(change.mean):.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")
