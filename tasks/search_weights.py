"""Search for the weights at which all LoRAs of a stack show at once, on other seeds than the composition test's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.digest import digest_of
from data_contracts.generation import Variant, picture_name
from data_contracts.records import Rejected
from data_contracts.results import LoraFile, WeightTrial, lora_weights
from data_contracts.stack_stages import ComposeLorasConfig, SearchWeightsConfig
from models.metrics.weight_choice import best_in_draws, joint_score
from models.pictures import read_rgb
from models.sheets import weights_sheet
from tasks.pictures_job import Findings, findings_of, generate, judge
from tasks.stack_weights import STARTUP, Proposal, Sampler, Space, Weights, best_first
from tasks.stage import stage

DECIMALS = 4


@dataclass(frozen=True)
class Stack:
    """The LoRAs that are weighed, and how pictures of them are drawn: sampling's seeds are the search's."""

    job: Path
    base: Path
    loras: tuple[Dataset[LoraFile], ...]
    prompt: str
    sampling: ComposeLorasConfig

    @property
    def members(self) -> tuple[LoraFile, ...]:
        """The LoRAs."""
        return tuple(lora for each in self.loras for lora in each)

    def judged(self, sets: Sequence[Weights]) -> list[list[Findings]]:
        """Return what each seed's picture shows at each set of weights; pictures that are there are not drawn again.

        A picture is named by its weights, so that none is ever taken for that of others.
        """
        variants = {name: Variant(name=name, weights=weights) for weights in sets for name in [name_of(weights)]}
        asked = self.sampling
        paths = {
            name: [self.job / "pictures" / picture_name(name, 0, seed) for seed in asked.seeds] for name in variants
        }
        if not all(path.exists() for each in paths.values() for path in each):
            some = tuple(variants.values())
            generate(self.job, self.base, self.loras, some, (self.prompt,), asked, asked.negative_prompt)
        found = {
            name: findings_of(asked.judge, self.members, [read_rgb(path) for path in each])
            for name, each in paths.items()
        }
        return [found[name_of(weights)] for weights in sets]


@stage(WeightTrial, version=2, sheet=weights_sheet)
def search_weights(
    out: Path,
    loras: tuple[Dataset[LoraFile], ...],
    base: Path,
    prompt: str,
    sampling: ComposeLorasConfig,
    config: SearchWeightsConfig,
) -> Iterator[WeightTrial | Rejected]:
    """Yield every set of weights that was tried, the best one recommended.

    A search that was killed is begun anew: it proposes the same, and finds the pictures that it has drawn.
    """
    stack = Stack(out.parent / "job", base, loras, prompt, sampling)
    configured = configured_weights(stack.members, sampling)
    sampler = Sampler(Space(tuple(configured), config), configured, gains_alone(stack))
    tried: list[tuple[Proposal, list[Findings]]] = []
    while len(tried) < config.trials:
        together = 1 if tried else min(STARTUP, config.trials)  # the first ones depend on no score
        asked = [sampler.ask() for _ in range(together)]
        for proposal, found in zip(asked, stack.judged([each.weights for each in asked]), strict=True):
            sampler.tell(proposal, mean_score(found))
            tried.append((proposal, found))
    yield from rows_of(tried, sampling.seeds)


def objection(members: Sequence[LoraFile], sampling: ComposeLorasConfig, config: SearchWeightsConfig) -> str:
    """Return why no weights are searched for; empty where they can be."""
    if not config.trials:
        return "search_weights.trials is 0"
    if len(members) < 2:  # noqa: PLR2004
        return "one LoRA alone has nothing to be weighed against"
    if (people := sum(lora.type == "character" for lora in members)) > 1:
        return f"a judge says who a picture shows, one of {people} characters; weights that mix them would look best"
    if sampling.judge is None:
        return "compose_loras.judge names no judge, and without one no set of weights is better than another"
    asked = judge(sampling.judge)
    if unknown := [lora for lora in members if not asked.knows(lora.type, lora.subject)]:
        return f"judge {sampling.judge!r} does not know {unknown[0].subject!r}, the subject of {unknown[0].name}"
    return ""


def configured_weights(members: Sequence[LoraFile], sampling: ComposeLorasConfig) -> Weights:
    """Return the configured stacking weight of each LoRA, by its type."""
    return {lora.name: sampling.weights.get(lora.type, 1.0) for lora in members}


def gains_alone(stack: Stack) -> dict[str, float]:
    """Return how much more likely each LoRA, alone and at full strength, makes its own subject."""
    names = [lora.name for lora in stack.members]
    base, *alone = stack.judged([{}, *({name: 1.0} for name in names)])
    return {
        name: fmean(after[n].probability - before[n].probability for after, before in zip(found, base, strict=True))
        for n, (name, found) in enumerate(zip(names, alone, strict=True))
    }


def rows_of(tried: Sequence[tuple[Proposal, list[Findings]]], seeds: tuple[int, ...]) -> Iterator[WeightTrial]:
    """Yield the rows of all trials, in order."""
    scores = [scores_of(found) for _, found in tried]
    winners = best_in_draws(np.array(scores))
    best = best_first([mean_score(found) for _, found in tried])
    for number, (proposal, found) in enumerate(tried):
        yield WeightTrial(
            id=f"trial:{number:03}",
            origin=proposal.origin,
            weights=lora_weights(proposal.weights),
            seeds=seeds,
            scores=scores[number],
            score=mean_score(found),
            found=tuple(
                round(fmean(each.is_found for each in column), DECIMALS) for column in zip(*found, strict=True)
            ),
            best_in=round(float((winners == number).mean()), DECIMALS),
            recommended=number == best,
        )


def scores_of(found: Sequence[Findings]) -> tuple[float, ...]:
    """Return the joint score of each picture."""
    return tuple(round(joint_score(each), DECIMALS) for each in found)


def mean_score(found: Sequence[Findings]) -> float:
    """Return what the search raises: the mean of the pictures' joint scores."""
    return round(fmean(scores_of(found)), DECIMALS)


def name_of(weights: Weights) -> str:
    """Return a name that no other weights have."""
    return f"weights {digest_of(weights)[:16]}"
