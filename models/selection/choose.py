"""Choosing a set that shows everything: a greedy search for the best sum of quality, balance and coverage.

Each term has diminishing returns, so the sum is submodular, and taking the picture that adds most, again and again,
comes within 1 - 1/e of the best set (Nemhauser, Wolsey and Fisher 1978). Coverage is the facility location of
Lin and Bilmes ("A class of submodular functions for document summarization", 2011).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.records import UNSAID
from models.embed import Embeddings

Numbers = NDArray[np.float64]
QUALITY = 0.5
"""What the best picture adds for being the best; a facet's first picture adds 1."""
MOST_CLIENTS = 1000
"""Pictures that shall find one like them among the chosen; more change nothing but the time."""


@dataclass(frozen=True)
class Candidates:
    """n pictures to choose from.

    facets: for each of its names (view, size, film, …), the n values.
    quality: (n,), 0..1.
    embeddings: (n, d) unit rows; None where likeness shall not count.
    """

    facets: Mapping[str, Sequence[str]]
    quality: Numbers
    embeddings: Embeddings | None = None


@dataclass(frozen=True)
class Balance:
    """How often each value of a facet is wanted.

    values: (n,) the number of each candidate's value; -1 where it is unknown.
    wanted: (v,) pictures wanted of each value.
    """

    values: NDArray[np.int64]
    wanted: Numbers

    def gains(self, counts: Numbers) -> Numbers:
        """Return what each candidate adds, (n,): 1 for a value not taken yet, 1/2 once it has all that is wanted."""
        of_value = np.append(self.wanted / (self.wanted + counts), 0.0)  # the last is -1, the unknown
        return np.asarray(of_value[self.values])


def choose(candidates: Candidates, target: int, shares: Mapping[str, Mapping[str, float]]) -> list[int]:
    """Return the numbers of at most `target` candidates, the one that adds most first.

    Args:
        candidates: what there is.
        target: how many are wanted.
        shares: for a facet, the share of the set that each of its values shall have; values that it does not name,
            and all values of facets that it lacks, share what is left evenly.
    """
    n = len(candidates.quality)
    balances = [balance_of(values, target, shares.get(name, {})) for name, values in candidates.facets.items()]
    counts = [np.zeros(len(balance.wanted)) for balance in balances]
    coverage = Coverage(candidates.embeddings, target) if candidates.embeddings is not None else None
    left = np.ones(n, bool)
    chosen: list[int] = []
    while len(chosen) < min(n, target):
        gain = QUALITY * candidates.quality
        for balance, count in zip(balances, counts, strict=True):
            gain += balance.gains(count)
        if coverage is not None:
            gain += coverage.gains()
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        left[best] = False
        chosen.append(best)
        for balance, count in zip(balances, counts, strict=True):
            if (value := balance.values[best]) >= 0:
                count[value] += 1
        if coverage is not None:
            coverage.take(best)
    return chosen


def balance_of(values: Sequence[str], target: int, shares: Mapping[str, float]) -> Balance:
    """Return how often each value of one facet is wanted in a set of `target`."""
    known = sorted(set(values) - UNSAID)
    named = {value: shares[value] for value in known if value in shares}
    others = len(known) - len(named)
    rest = max(0.0, 1 - sum(named.values())) / others if others else 0.0
    wanted = np.array([max(named.get(value, rest) * target, 1.0) for value in known])
    numbers = {value: number for number, value in enumerate(known)}
    return Balance(np.array([numbers.get(value, -1) for value in values], np.int64), wanted)


class Coverage:
    """How much nearer each candidate brings the chosen ones to all others: facility location."""

    def __init__(self, embeddings: Embeddings, target: int) -> None:
        spread = np.linspace(0, len(embeddings) - 1, min(len(embeddings), MOST_CLIENTS)).round().astype(int)
        self.likeness = embeddings @ embeddings[np.unique(spread)].T  # (n, clients)
        self.best = np.full(self.likeness.shape[1], float(self.likeness.min(initial=0.0)))
        self.scale = target / max(1e-9, float((self.likeness.max(axis=0) - self.best).sum()))

    def gains(self) -> Numbers:
        """Return what each candidate adds, (n,); over a whole set they add up to about its size."""
        return np.asarray(np.maximum(self.likeness - self.best, 0).sum(axis=1) * self.scale, np.float64)

    def take(self, chosen: int) -> None:
        """Note that a candidate is in the set."""
        np.maximum(self.best, self.likeness[chosen], out=self.best)
