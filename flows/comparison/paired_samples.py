"""Pictures of two runs that were made for the same prompt from the same seed, paired."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.comparison.run_scores import Sample, Scored


@dataclass(frozen=True)
class Pair:
    """A picture of each run, for the same prompt and from the same seed."""

    prompt: str  # the second run's
    seed: int
    a: Scored
    b: Scored

    @property
    def is_same(self) -> bool:
        """Whether both are the very same picture and scored the same; files are named by their content."""
        names = [each.image and each.image.name for each in (self.a, self.b)]
        return names[0] == names[1] and self.a.scores == self.b.scores


@dataclass(frozen=True)
class PairedSample:
    """The pairs of pictures that the same set of LoRAs made in both runs: as many for each prompt."""

    sample: Sample
    pairs: tuple[Pair, ...]  # prompt by prompt, each in the order of the seeds
    prompts: int

    @property
    def seeds(self) -> int:
        """How many pairs each prompt has."""
        return len(self.pairs) // self.prompts

    @property
    def has_pictures(self) -> bool:
        """Whether there is something to look at; held-out losses have no pictures."""
        return self.pairs[0].a.image is not None

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured on every picture of both runs."""
        scored = [set(each.scores) for pair in self.pairs for each in (pair.a, pair.b)]
        return tuple(name for name in self.pairs[0].b.scores if all(name in each for each in scored))

    def values(self, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a measure of both runs, `(prompts, seeds)` each."""
        pairs, shape = self.pairs, (self.prompts, -1)
        a = np.array([pair.a.scores[measure] for pair in pairs]).reshape(shape)
        return a, np.array([pair.b.scores[measure] for pair in pairs]).reshape(shape)


def pair(a: Sample, b: Sample) -> PairedSample | str:
    """Return the pairs of two samples of the same title, or why there are none.

    Prompts are paired by their words; where none is common but their number is, by their order: their words differ in a
    trigger, or in what frames it.
    """
    if a.ground != b.ground:
        return "the runs' held-out pictures are not the same"
    prompts_a, prompts_b = (list(dict.fromkeys(prompt for prompt, _ in each.pictures)) for each in (a, b))
    prompts = [(prompt, prompt) for prompt in prompts_a if prompt in prompts_b]
    if not prompts:
        if len(prompts_a) != len(prompts_b):
            return f"{len(prompts_a)} and {len(prompts_b)} prompts, none of them common"
        prompts = list(zip(prompts_a, prompts_b, strict=True))
    seeds_a, seeds_b = (sorted({seed for _, seed in each.pictures}) for each in (a, b))
    seeds = [
        seed
        for seed in seeds_a
        if all((one, seed) in a.pictures and (other, seed) in b.pictures for one, other in prompts)
    ]
    if not seeds:
        return f"no seed in common: {_listed(seeds_a)} and {_listed(seeds_b)}"
    pairs = (
        Pair(other, seed, a.pictures[one, seed], b.pictures[other, seed]) for one, other in prompts for seed in seeds
    )
    return PairedSample(b, tuple(pairs), len(prompts))


def left_out(found: PairedSample, a: Sample, b: Sample) -> Iterator[str]:
    """Yield how the prompts were paired, where not by their words, and how many pictures have no partner."""
    if {each.prompt for each in found.pairs} - {prompt for prompt, _ in a.pictures}:
        yield f"{b.of}: the prompts' words differ; they are paired in their order"
    left = [len(each.pictures) - len(found.pairs) for each in (a, b)]
    if any(left):
        yield f"{b.of}: {left[0]} pictures of the first run and {left[1]} of the second have no partner"


def _listed(seeds: Sequence[int], most: int = 6) -> str:
    return ", ".join(map(str, seeds[:most])) + (f" and {len(seeds) - most} more" if len(seeds) > most else "")
