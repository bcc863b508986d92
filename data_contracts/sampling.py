"""How pictures are drawn, all but what they show."""

from pydantic import Field

from data_contracts.config import StageConfig
from data_contracts.generation import Precision, Seeds


class SamplingConfig(StageConfig):
    """How pictures are drawn, all but what they show."""

    seeds: Seeds = Field(default=(1, 2, 3), description="one picture each; a number n stands for 1 to n")
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    precision: Precision = "float32"
