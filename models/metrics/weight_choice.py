"""Which of the tried sets of weights is best, and how sure that is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.results import Finding
from models.metrics.bootstrap import LEVEL, ROUNDS


def joint_score(findings: Sequence[Finding]) -> float:
    """Return the geometric mean of the subjects' probabilities, 0..1: high only where all of them are likely there.

    Raises:
        ValueError: nothing was judged.
    """
    if not findings:
        message = "a picture without findings has no joint score: it needs a judge that knows the LoRAs"
        raise ValueError(message)
    return float(np.prod([each.probability for each in findings]) ** (1 / len(findings)))


def best_in_draws(scores: NDArray[np.float64], rounds: int = ROUNDS) -> NDArray[np.int64]:
    """Return which trial has the best mean in each of `rounds` draws of the seeds: (rounds,) from (trials, seeds).

    All trials share a draw: they were drawn from the same seeds. The same scores always give the same draws. Of trials
    that are equally good the first is taken.
    """
    seeds = scores.shape[1]
    drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), rounds)  # (rounds, seeds)
    means = np.round(drawn @ scores.T / seeds, 9)  # (rounds, trials), without rounding that tells equals apart
    return np.asarray(means.argmax(axis=1), dtype=np.int64)


def weight_interval(weights: NDArray[np.float64], best: NDArray[np.int64]) -> tuple[float, float]:
    """Return between which of a LoRA's tried weights, (trials,), the best one lies in 95 of 100 draws."""
    ends = np.quantile(weights[best], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="closest_observation")
    return float(ends[0]), float(ends[1])
