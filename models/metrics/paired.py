"""Whether paired differences can be chance, and how many comparisons at once still allow that to be said.

Fisher, The Design of Experiments, 1935, 21: were there no difference between two runs, each pair could as well have
come out the other way round, so the differences' signs are flipped in all ways, or in many at random, and counted how
often their mean is as far from 0 as it is. Pictures of one prompt are off together, and so are those of one seed: whole
prompts are flipped, or whole seeds, whichever there are more of. Where these are the prompts, the chance is that of
other prompts from the same seeds: of few seeds it cannot be said how others would have come out.

Of sixty comparisons without any difference three would look like one. Holm, "A simple sequentially rejective multiple
test procedure", Scandinavian Journal of Statistics 6 (1979): after his correction the chance that even one of them is
called a difference is at most one in twenty, whatever hangs together with what.
"""

from collections.abc import Sequence
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
EXACT = 14
"""Up to so many units all flips are tried: 16,384."""
ROUNDS = 20_000
_ROUNDING = 1e-12


def sign_flip_chance(differences: NDArray[np.float64]) -> float:
    """Return how likely a mean as far from 0 as that of `(prompts, seeds)` differences is by chance, above 0 to 1.

    The same values always give the same result. At random flips the differences as they are count as one of the flips:
    Phipson & Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and Molecular
    Biology 9 (2010).
    """
    prompts, seeds = differences.shape
    units = differences.mean(axis=1 if prompts >= seeds else 0)
    exact = len(units) <= EXACT
    if exact:
        signs = 1 - 2 * (np.arange(2 ** len(units))[:, None] >> np.arange(len(units)) & 1)
    else:
        signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (ROUNDS, len(units)))
    as_far = int((np.abs(signs @ units) >= abs(units.sum()) - _ROUNDING).sum())
    return as_far / len(signs) if exact else (1 + as_far) / (1 + ROUNDS)


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """Return the chances corrected for their number, in the order given: at most `LEVEL` is a difference."""
    order = np.argsort(chances, kind="stable")
    scaled = np.asarray(chances)[order] * np.arange(len(chances), 0, -1)
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return tuple(corrected.tolist())


def fewest_units(comparisons: int) -> int:
    """Return how many prompts or seeds the least of so many chances needs to be able to come below `LEVEL`."""
    return ceil(log2(2 * max(1, comparisons) / LEVEL))
