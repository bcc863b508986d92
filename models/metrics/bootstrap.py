"""How sure the mean of a measure over prompts and seeds is.

Every prompt is drawn from the same seeds, so pictures of one prompt, and pictures of one seed, are off together. Taking
each picture for a draw of its own would make intervals too narrow. Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 1 (2007): prompts are drawn anew, and seeds are drawn anew, each for itself. From very few of either
the interval is still too narrow: what is not there cannot be drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where the mean lies, in 95 of 100 cases."""

    low: float
    high: float


def mean_interval(values: NDArray[np.float64], rounds: int = ROUNDS) -> Interval | None:
    """Return the percentile interval of the mean of `(prompts, seeds)` values.

    The same values always give the same interval. None of values that are all equal, or of one alone: drawn anew they
    stay as they are, which does not make their mean certain.
    """
    if values.min() == values.max():
        return None
    prompts, seeds = values.shape
    random = np.random.default_rng(0)
    of_prompts = random.multinomial(prompts, np.full(prompts, 1 / prompts), rounds)  # (rounds, prompts) times drawn
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), rounds)  # (rounds, seeds)
    means = ((of_prompts @ values) * of_seeds).sum(axis=1) / values.size  # (rounds,)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
