"""Whether characters that share a picture stay apart: what each one's region shows of him, and of the others."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import cv2
import numpy as np
from numpy.typing import NDArray

from data_contracts.characters import FOUND, Separation
from data_contracts.composition import Change
from data_contracts.generation import StackingMethod
from data_contracts.results import CharactersPicture
from models.embed.crop import BACKGROUND
from models.metrics.interference import LEAST, paired_change, said
from models.pictures import Picture

DECIMALS = 4
LIKELY = 0.5
"""Somebody is found where that is more likely than not."""
Values = NDArray[np.float64]
"""How much each region (rows) shows each character (columns), in the same order."""


def region_alone(picture: Picture, cover: NDArray[np.float32]) -> Picture:
    """Return a region of a picture `(H, W, 3) RGB` uint8 as a square; the picture's edges go on where it is no square.

    cover: what share of each pixel is the region's, `(H, W)`; what is not is plain grey.
    """
    rows, columns = (np.nonzero((cover > 0).any(axis=axis))[0] for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = np.where(cover[box][..., None] >= 0.5, picture[box], np.uint8(BACKGROUND))  # noqa: PLR2004  half of a pixel
    height, width = inside.shape[:2]
    down, across = max(0, width - height), max(0, height - width)
    sides = (down // 2, down - down // 2, across // 2, across - across // 2)
    return np.asarray(cv2.copyMakeBorder(inside, *sides, cv2.BORDER_REPLICATE), np.uint8)


def best_places(values: Values) -> tuple[int, ...]:
    """Return for each character the region that is taken for his, so that together they are shown most."""
    count = len(values)
    return max(permutations(range(count)), key=lambda places: sum(values[place, n] for n, place in enumerate(places)))


def separations(rows: Sequence[CharactersPicture]) -> tuple[Separation, ...]:
    """Return for each way of stacking, by each measure, how well it keeps the characters apart."""
    found = []
    for measure in dict.fromkeys(sight.measure for row in rows for sight in row.sights):
        gaps: dict[str, dict[int, float]] = {}
        for method in dict.fromkeys(row.variant for row in rows):
            by_seed = {row.seed: _values(row, measure) for row in rows if row.variant == method}
            own = np.array([np.diag(values) for values in by_seed.values()])  # (seeds, regions)
            other = np.array([_others(values) for values in by_seed.values()])
            gaps[method] = dict(zip(by_seed, (own - other).mean(axis=1).tolist(), strict=True))
            apart = ((own >= LIKELY) & (own > other)).all(axis=1).mean() if measure.startswith(FOUND) else None
            found.append(
                Separation(
                    method=_method(method),
                    measure=measure,
                    own=round(float(own.mean()), DECIMALS),
                    bleed=round(float(other.mean()), DECIMALS),
                    apart=None if apart is None else round(float(apart), DECIMALS),
                    change=None if method == "linear" else _change(gaps[method], gaps.get("linear", {})),
                )
            )
    return tuple(found)


def verdicts(found: Sequence[Separation], loras: Sequence[str]) -> tuple[str, ...]:
    """Return in sentences where the characters are found, and what keeps them apart better or worse than the sum."""
    who, lines = " and ".join(loras), []
    for measure in dict.fromkeys(each.measure for each in found):
        ways = [each for each in found if each.measure == measure]
        shares = ", ".join(f"{NAMES[each.method]} {each.apart:.0%}" for each in ways if each.apart is not None)
        if shares:
            lines.append(f"pictures in which {who} are {measure} in their own regions: {shares}")
        lines += [f"{NAMES[e.method]}: {verdict} ({measure})" for e in ways if (verdict := _verdict(e))]
        compared = [each for each in ways if each.change is not None]
        if unsure := [NAMES[each.method] for each in compared if not _verdict(each)]:
            lines.append(f"chance may be all that tells {', '.join(unsure)} from the sum ({measure})")
    return tuple(lines)


def _verdict(each: Separation) -> str:
    """Return whether a way is better or worse than the sum; empty where chance may be all, or it is the sum itself."""
    if each.change is not None and each.change.is_higher and each.change.mean >= LEAST:
        return f"tells them apart better than the sum, by {said(each.change)}"
    if each.change is not None and each.change.is_lower and each.change.mean <= -LEAST:
        return f"tells them apart worse than the sum, by {said(each.change)}"
    return ""


NAMES: Mapping[StackingMethod, str] = {
    "linear": "summed",
    "switch": "LoRA Switch",
    "composite": "LoRA Composite",
    "regional": "regional prompts",
}


def _method(name: str) -> StackingMethod:
    return next(method for method in NAMES if method == name)


def _values(row: CharactersPicture, measure: str) -> Values:
    seen = {(sight.region, sight.lora): sight.value for sight in row.sights if sight.measure == measure}
    names = list(dict.fromkeys(region for region, _ in seen))
    return np.array([[seen[region, lora] for lora in names] for region in names])


def _others(values: Values) -> Values:
    """Return for each region how much it shows of the character that it shows most, its own left out."""
    return np.asarray(np.where(np.eye(len(values), dtype=bool), -np.inf, values).max(axis=1))


def _change(gaps: Mapping[int, float], summed: Mapping[int, float]) -> Change | None:
    seeds = sorted(gaps.keys() & summed.keys())
    return paired_change(*(np.array([each[seed] for seed in seeds]) for each in (gaps, summed))) if seeds else None
