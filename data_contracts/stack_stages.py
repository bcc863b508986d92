"""The settings of the stages that stack LoRAs: the composition test, the search for weights, several characters."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from data_contracts.config import StageConfig
from data_contracts.generation import MOST_SEEDS, Seeds
from data_contracts.records import LoraType
from data_contracts.regions import Area, columns, overlapping
from data_contracts.sampling import SamplingConfig
from data_contracts.stacking import BlockFactors, OtherWay

FIRST_SEARCH_SEED = 100_001
"""Above all seeds that a number stands for elsewhere."""


class ComposeLorasConfig(SamplingConfig):
    """The composition test: all LoRAs stacked, each alone, all but one, none; and every two, if asked for."""

    weights: dict[LoraType, float] = Field(
        default={"character": 1.0, "background": 0.8, "pose": 0.7, "expression": 0.6},
        description="stacking weight by type",
    )
    prefix: str = Field(default="", description="words in front of the triggers")
    suffix: str = Field(default="", description="words behind the triggers, such as framing and view")
    negative_prompt: str = ""
    seeds: Seeds = Field(default=(1, 2, 3, 4), description="one picture each; a number n stands for 1 to n")
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")
    pairs: bool = Field(default=False, description="every two LoRAs are drawn as well, both at full strength")

    @field_validator("weights")
    @classmethod
    def _in_range(cls, weights: dict[LoraType, float]) -> dict[LoraType, float]:
        for kind, weight in weights.items():
            if not 0 <= weight <= 2:  # noqa: PLR2004
                message = f"the weight of {kind} is {weight}; stacking weights lie in 0..2"
                raise ValueError(message)
        return weights


class SearchWeightsConfig(StageConfig):
    """The search for stacking weights before the composition test; its seeds are others than the test's."""

    trials: int = Field(default=0, ge=0, le=1000, description="sets of weights that are tried; 0: no search")
    seeds: Seeds = Field(
        default=tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + 8)),
        description="one picture of each trial; a number n stands for 100001 to 100000 + n",
    )
    steps: int = Field(default=25, ge=1, description="denoising steps; fewer than the test's are often enough to rank")
    lowest: float = Field(default=0.0, ge=0, le=2, description="smallest weight that is tried")
    highest: float = Field(default=1.2, gt=0, le=2, description="largest weight that is tried")
    every: float = Field(default=0.05, ge=0.01, le=1, description="distance of two weights that are tried")
    most_in_sum: float = Field(
        default=3.0,
        gt=0,
        description="sets that weigh more together are scaled down to it: too many LoRAs break pictures",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of the sampler; the same search always tries the same")

    @field_validator("seeds", mode="before")
    @classmethod
    def _far_from_the_tests(cls, seeds: object) -> object:
        counted = isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MOST_SEEDS
        return tuple(range(FIRST_SEARCH_SEED, FIRST_SEARCH_SEED + seeds)) if counted else seeds  # type: ignore[operator]

    @model_validator(mode="after")
    def _is_a_range(self) -> "SearchWeightsConfig":
        if self.lowest >= self.highest:
            message = f"weights are tried from {self.lowest} to {self.highest}: lower `lowest` or raise `highest`"
            raise ValueError(message)
        return self


class CompareStackingConfig(StageConfig):
    """The ways of stacking all LoRAs side by side: beside the sums of the composition test, from some of its seeds."""

    methods: tuple[OtherWay, ...] = Field(
        default=("switch", "composite", "blocks", "merged"),
        description="ways beside the sum; none: nothing is compared. switch and composite give each LoRA the word "
        "alone, at compose_loras.weights; the others take the recommended weights, where there are any",
    )
    seeds: int = Field(
        default=8, ge=1, le=MOST_SEEDS, description="so many of compose_loras.seeds, the first; 6 at least for verdicts"
    )
    switch_every: int = Field(
        default=5, ge=1, description="denoising steps that a LoRA's turn lasts in switch; five in the method's paper"
    )
    blocks: dict[LoraType, BlockFactors] = Field(
        default={"character": {"outer": 0.5}, "background": {"inner": 0.5}},
        description="by type of LoRA: what its weight is multiplied by in a U-Net's inner and outer blocks",
    )
    merged_rank: int | None = Field(
        default=None, ge=1, le=1024, description="of the merged file; null: that of the LoRA with the highest"
    )


class ComposeCharactersConfig(StageConfig):
    """The test of several characters in one picture, drawn as the composition test's pictures are, but wide."""

    methods: tuple[Literal["switch", "composite", "regional"], ...] = Field(
        default=("switch", "composite", "regional"),
        description="ways of stacking beside the sum; none: the test is left out",
    )
    switch_every: int = Field(
        default=5, ge=1, description="denoising steps that a LoRA's turn lasts in switch; five in the method's paper"
    )
    regions: dict[str, Area] = Field(
        default_factory=dict,
        description="by LoRA of a character: left, top, right, bottom as shares of the picture, or a picture that is "
        "white inside; empty: upright strips of equal width, in the project's order",
    )
    feather: float = Field(
        default=0.03, ge=0, le=0.5, description="how softly regions blend, in shorter sides of the picture"
    )
    width: int | None = Field(
        default=None,
        ge=64,
        le=8192,
        multiple_of=16,
        description="pixels; null: half a square more for each character but the first",
    )
    embedder: str | None = Field(
        default=None, description="a backend of models/embed, for likeness to held-out frames; null: it is not measured"
    )

    def areas(self, characters: tuple[str, ...]) -> dict[str, Area]:
        """Return the region of each character."""
        return {name: self.regions[name] for name in characters} if self.regions else {**columns(characters)}

    def width_for(self, characters: int, size: int) -> int:
        """Return the pictures' width in pixels, a multiple of 16."""
        return self.width or (size + (characters - 1) * size // 2) // 16 * 16

    def objection(self, characters: tuple[str, ...]) -> str:
        """Return why the configured regions cannot be those of the project's characters; empty where they can."""
        if not self.regions:
            return ""
        if len(characters) < 2:  # noqa: PLR2004
            return "regions are for several characters, of which the project has one at most: remove them"
        known = ", ".join(characters)
        if strange := [name for name in self.regions if name not in characters]:
            return f"{strange[0]!r} is no LoRA of a character; known: {known}"
        if missing := [name for name in characters if name not in self.regions]:
            return f"{missing[0]!r} has no region: give one to each of {known}, or to none"
        if both := overlapping(self.regions):
            return f"the boxes of {both[0]!r} and {both[1]!r} overlap: a place belongs to one; move them apart"
        return ""
