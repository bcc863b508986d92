"""Proposing weights for a stack of LoRAs: a few that stand to reason, some at random, then what has done well so far.

Tree-structured Parzen estimator: Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011; of all weights
together, as Falkner et al., BOHB, 2018, have it, since LoRAs disturb one another. What is proposed follows from the
seed and the scores that were told, in their order, alone: a search that is begun anew proposes the same again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import Trial

from data_contracts.faults import InputFault
from data_contracts.stack_stages import SearchWeightsConfig

STARTUP = 6
"""Trials before the sampler trusts what it has seen: three that stand to reason, the others at random."""
Origin = Literal["configured", "alike", "by_gain", "proposed"]
Weights = dict[str, float]
_ORIGIN, _DIGITS, _TINY = "origin", 4, 1e-9


@dataclass(frozen=True)
class Space:
    """The grid of weights that are tried, the same for each LoRA, and the most that a set may weigh.

    Raises:
        InputFault: even the smallest weights are too many together.
    """

    loras: tuple[str, ...]
    config: SearchWeightsConfig

    def __post_init__(self) -> None:
        least = self.config.lowest * len(self.loras)
        if least > self.config.most_in_sum:
            message = (
                f"search_weights.lowest: {len(self.loras)} LoRAs at {self.config.lowest} weigh {least:g}, more than "
                f"most_in_sum = {self.config.most_in_sum:g}: lower the one or raise the other"
            )
            raise InputFault(message)

    @property
    def units(self) -> int:
        """The largest weight, in steps of `every` above `lowest`."""
        return math.floor((self.config.highest - self.config.lowest) / self.config.every + _TINY)

    def weights(self, units: Mapping[str, int]) -> Weights:
        """Return the weights of a point of the grid, scaled down to `most_in_sum` where it has more."""
        extra = sum(units.values()) * self.config.every
        room = self.config.most_in_sum - self.config.lowest * len(self.loras)
        scale = min(1.0, room / extra) if extra else 1.0
        return {name: self._weight(math.floor(units[name] * scale + _TINY)) for name in self.loras}

    def nearest(self, weights: Mapping[str, float]) -> dict[str, int]:
        """Return the point of the grid that is nearest."""
        steps = {name: (weights[name] - self.config.lowest) / self.config.every for name in self.loras}
        return {name: min(self.units, max(0, round(step))) for name, step in steps.items()}

    def _weight(self, units: int) -> float:
        return round(self.config.lowest + units * self.config.every, _DIGITS)


@dataclass(frozen=True)
class Proposal:
    """A set of weights to be tried."""

    origin: Origin
    weights: Weights
    trial: Trial


class Sampler:
    """Proposes weights and learns from their scores, 0..1.

    gains: what each LoRA alone adds to its own score.
    """

    def __init__(self, space: Space, configured: Weights, gains: Mapping[str, float]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.configured = space, configured
        sampler = TPESampler(
            n_startup_trials=STARTUP,
            seed=space.config.seed,
            multivariate=True,
            constant_liar=False,
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {name: IntDistribution(0, space.units) for name in space.loras}
        for origin, weights in starting_weights(configured, gains).items():
            self._study.enqueue_trial(dict(space.nearest(weights)), user_attrs={_ORIGIN: origin})

    def ask(self) -> Proposal:
        """Return the next set of weights; the configured ones exactly, even beside the grid."""
        trial = self._study.ask(dict(self._distributions))
        origin: Origin = trial.user_attrs.get(_ORIGIN, "proposed")
        return Proposal(origin, self.configured if origin == "configured" else self.space.weights(trial.params), trial)

    def tell(self, proposal: Proposal, score: float) -> None:
        """Take the score of a set of weights that was proposed."""
        self._study.tell(proposal.trial, score)


def starting_weights(configured: Weights, gains: Mapping[str, float]) -> dict[Origin, Weights]:
    """Return the sets that are tried first: the configured one, one weight for all, and the configured by need.

    By need: the largest of the configured weights goes to the LoRA that gains least alone, as it has the most to make
    up for.
    """
    needy = sorted(configured, key=lambda name: gains[name])
    dealt = dict(zip(needy, sorted(configured.values(), reverse=True), strict=True))
    alike = dict.fromkeys(configured, fmean(configured.values()))
    return {"configured": configured, "alike": alike, "by_gain": {name: dealt[name] for name in configured}}


def best_first(scores: Sequence[float]) -> int:
    """Return the number of the best trial; of equals the first, which is the configured one where it is among them."""
    return max(range(len(scores)), key=lambda number: (scores[number], -number))
