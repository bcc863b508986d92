"""Which way of stacking LoRAs does best: each beside the sum at the same weights, seed by seed."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from data_contracts.composition import ALL, FEWEST_SEEDS, GIVEN, Change
from data_contracts.results import Picture, WayPicture
from data_contracts.stacking import BlockFactors, OtherWay, StackingWay
from models.metrics.interference import LEAST, paired_change, said
from models.metrics.weight_choice import joint_score

DECIMALS = 4
NAMES: Mapping[str, str] = {
    GIVEN: "summed, given weights",
    ALL: "summed",
    "switch": "LoRA Switch",
    "composite": "LoRA Composite",
    "blocks": "block weights",
    "merged": "merged into one file",
}


def ways_of(
    rows: Sequence[WayPicture], blocks: Mapping[str, Mapping[str, BlockFactors]] | None = None
) -> tuple[StackingWay, ...]:
    """Return how each way of stacking does, in order of first appearance.

    Args:
        rows: the pictures of all ways.
        blocks: by way, what it multiplies each LoRA's weight by in inner and outer blocks.
    """
    grouped: dict[str, list[WayPicture]] = {}
    for row in rows:
        grouped.setdefault(row.variant, []).append(row)
    return tuple(_way(name, grouped, (blocks or {}).get(name, {})) for name in grouped)


def verdicts(ways: Sequence[StackingWay], left_out: Mapping[OtherWay, str]) -> tuple[str, ...]:
    """Return in sentences which ways are better or worse than the sum at the same weights, and what is missing."""
    return (*_verdicts(ways), *(f"{NAMES[name]} was left out: {why}" for name, why in left_out.items()))


def joint_change(rows: Sequence[Picture], others: Sequence[Picture]) -> Change | None:
    """Return how much higher the joint score of `rows` is than that of `others`, seed by seed; None without a pair."""
    after, before = _scores(rows), _scores(others)
    seeds = sorted(after.keys() & before.keys())
    return paired_change(*(np.array([each[seed] for seed in seeds]) for each in (after, before))) if seeds else None


def weights_in_words(way: StackingWay) -> str:
    """Return a way's weights, such as `luca 0.8, happy 0.4 (inner 2, outer 0)`."""
    words = []
    for name, weight in way.weights.items():
        factors = ", ".join(f"{group} {factor:g}" for group, factor in way.blocks.get(name, {}).items())
        words.append(f"{name} {weight:g}" + (f" ({factors})" if factors else ""))
    return ", ".join(words)


def _verdicts(ways: Sequence[StackingWay]) -> Iterator[str]:
    compared = [(each, each.change) for each in ways if each.change is not None]
    if compared and compared[0][1].seeds < FEWEST_SEEDS:
        yield f"{compared[0][1].seeds} seeds are too few to say which way is best: draw at least {FEWEST_SEEDS}"
        return
    unsure = []
    for way, change in compared:
        like = f"the sum at the same weights, by {said(change)}"
        if change.is_higher and change.mean >= LEAST:
            yield f"{NAMES[way.name]}: better than {like}"
        elif change.is_lower and change.mean <= -LEAST:
            yield f"{NAMES[way.name]}: worse than {like}"
        else:
            unsure.append(NAMES[way.name])
    if unsure:
        yield f"chance may be all that tells {', '.join(unsure)} from the sum at the same weights"


def _way(name: str, grouped: Mapping[str, Sequence[WayPicture]], blocks: Mapping[str, BlockFactors]) -> StackingWay:
    rows = grouped[name]
    judged = [row for row in rows if row.findings]
    loras = [finding.lora for finding in judged[0].findings] if judged else []
    columns = zip(*(row.findings for row in judged), strict=True)
    shares = [round(fmean(each.is_found for each in column), DECIMALS) for column in columns]
    against = None if name in {GIVEN, ALL} else _sum_like(rows[0], grouped)
    return StackingWay(
        name=name,
        weights={each.lora: each.weight for each in rows[0].weights},
        blocks=dict(blocks),
        found=dict(zip(loras, shares, strict=True)),
        all_found=_mean([all(each.is_found for each in row.findings) for row in judged]),
        score=_mean(list(_scores(rows).values())),
        against=against,
        change=joint_change(rows, grouped[against]) if against else None,
    )


def _sum_like(row: WayPicture, grouped: Mapping[str, Sequence[WayPicture]]) -> str | None:
    """Return the sum whose weights are a picture's."""
    weights = {each.lora: each.weight for each in row.weights}
    sums = [name for name in (ALL, GIVEN) if name in grouped]
    return next((name for name in sums if {w.lora: w.weight for w in grouped[name][0].weights} == weights), None)


def _scores(rows: Sequence[Picture]) -> dict[int, float]:
    """Return the joint score of each seed's picture; those that nobody judged are left out."""
    return {row.seed: joint_score(row.findings) for row in rows if row.findings}


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), DECIMALS) if values else None
