"""What the ways of stacking LoRAs come to beside one another: sums, turns, means, block weights, one merged file.

`compare_stacking` writes it as `stacking.json` beside its rows; a measure that could not be taken is not there.
"""

from typing import Literal

from pydantic import Field

from data_contracts.composition import Change
from data_contracts.config import Config
from data_contracts.generation import BlockGroup, Weight

FILE = "stacking.json"
OtherWay = Literal["switch", "composite", "blocks", "merged"]
"""Beside the sum. switch: one LoRA at a time, in turns; composite: each predicts alone, the mean counts; blocks: a sum
in which a U-Net's inner and outer blocks weigh LoRAs differently; merged: the sum as one file of one LoRA's rank."""
BlockFactors = dict[BlockGroup, Weight]
"""What a LoRA's weight is multiplied by in the inner and the outer blocks of a U-Net; those unnamed: 1."""


class StackingWay(Config):
    """How a stack does when it is stacked one way, on the average over seeds."""

    name: str = Field(description="`given` or `all`, the sums at the given and the recommended weights, or an OtherWay")
    weights: dict[str, float] = Field(description="by LoRA")
    blocks: dict[str, BlockFactors] = Field(default_factory=dict, description="by LoRA; blocks only")
    found: dict[str, float] = Field(description="by LoRA that the judge knows: share of the pictures that show it")
    all_found: float | None = Field(ge=0, le=1, description="share of the pictures that show all; None: not judged")
    score: float | None = Field(ge=0, le=1, description="geometric mean of the LoRAs' probabilities; None: not judged")
    against: str | None = Field(description="the sum at the same weights; None: it is one, or none was drawn")
    change: Change | None = Field(description="of the score to that sum's, from the same seeds")


class StackingWays(Config):
    """All numbers of the comparison."""

    seeds: int = Field(ge=1)
    ways: tuple[StackingWay, ...]
    left_out: dict[OtherWay, str] = Field(
        default_factory=dict, description="ways that were asked for: why they are not there"
    )
    kept: float | None = Field(
        default=None, ge=0, le=1, description="share of the stack's squared change that the merged file has; None: none"
    )
    verdicts: tuple[str, ...] = Field(default=(), description="the same in sentences")
