"""The settings of a LoRA's own stages, from its captions to the composition test."""

import re
from typing import Literal

from pydantic import Field, field_validator

from data_contracts.config import StageConfig
from data_contracts.generation import Seeds
from data_contracts.records import LoraType
from data_contracts.training import TrainSettings


class CaptionConfig(StageConfig):
    """What one LoRA's captions say, and of which pictures."""

    backend: str = Field(default="template", description="a backend of models/caption")
    batch: int = Field(default=8, ge=1, le=256, description="pictures captioned at once; memory grows with it")
    server: str | None = Field(
        default=None,
        description="for openai-server: its address, such as http://localhost:8000; its key comes from OPENAI_API_KEY",
        json_schema_extra={"digest": False},  # the same model at another address says the same
    )
    model: str | None = Field(default=None, description="for openai-server: the name of a model that it serves")
    type: LoraType
    subject: str = Field(min_length=1, description="a character's or place's name, an action or an expression")
    trigger: str = Field(min_length=1, description="the words that shall call the subject up; first in every caption")
    prefix: str = Field(default="", description="words after the trigger, the same in all captions")
    described_as: dict[str, str] = Field(
        default_factory=dict, description="words for a character or place in other LoRAs' captions, by its name"
    )
    regularisation: bool = Field(
        default=False, description="whether others than the subject are captioned too; dataset.regularisation sets it"
    )
    deny: tuple[str, ...] = Field(
        default=(), description="words that no caption may hold, besides those that its type is denied"
    )
    max_tokens: int = Field(
        default=77, ge=8, le=225, description="tokens with both ends, 77 or, for SDXL, 225; longer texts are cut"
    )

    @field_validator("server")
    @classmethod
    def _plain_address(cls, server: str | None) -> str | None:
        """Refuse what is no address of HTTP, and a name or key in it: configurations are kept with the results."""
        if server is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", server):
            message = "give http:// or https:// and a host, without name, key or query; a key goes into OPENAI_API_KEY"
            raise ValueError(message)
        return server


class AssembleDatasetConfig(StageConfig):
    """Which pictures one LoRA learns from."""

    type: LoraType
    target: int = Field(default=300, ge=1, description="pictures; the sharpest that differ most are taken")
    regularisation: int = Field(
        default=0, ge=0, description="pictures of others than the subject, without trigger, that keep them as they are"
    )
    resolution: int = Field(default=512, ge=64, multiple_of=8, description="pixels of the square crops")
    held_out_share: float = Field(default=0.15, ge=0, lt=1, description="share of the shots kept back for evaluation")
    min_sharpness: float = Field(default=0.0, ge=0, description="variance of the Laplacian inside the layer")
    max_upscale: float = Field(default=4.0, ge=1, description="crops that would be enlarged more are refused")
    max_duplicate_distance: int = Field(
        default=2,
        ge=-1,
        le=64,
        description="pHash bits within which crops are the same picture, in a shot or across shots; -1 keeps all",
    )
    embedder: str | None = Field(
        default=None, description="a backend of models/embed, for choosing what looks different; null: facets alone"
    )
    around: Literal["kept", "grey", "white"] = Field(
        default="kept", description="what surrounds the subject; kept suits masked loss, plain teaches a plain ground"
    )
    repeats: int = Field(default=10, ge=1, description="times that a picture is seen in an epoch")


class TrainLoraConfig(StageConfig):
    """How one LoRA is trained."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    type: LoraType
    subject: str
    trigger: str
    trainer: Literal["native", "kohya"] = Field(
        default="native", description="a trainer of models/trainers; kohya after `reel2lora doctor --setup kohya`"
    )
    settings: TrainSettings
    by_size: bool = Field(
        default=False, description="steps and rates follow from the number of pictures, not from the settings"
    )
    max_seconds: float = Field(default=86400, gt=0, description="the trainer is stopped, its state saved, after this")


class EvaluateLoraConfig(StageConfig):
    """The pictures that show what one LoRA does."""

    prompts: tuple[str, ...] = Field(min_length=1, description="`{trigger}` stands for the LoRA's trigger")
    seeds: Seeds = Field(default=(1, 2, 3), description="one picture each; a number n stands for 1 to n")
    weight: float = Field(default=1.0, ge=0, le=2)
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")


class ComposeLorasConfig(StageConfig):
    """The composition test: all LoRAs stacked, each alone, all but one, none."""

    weights: dict[LoraType, float] = Field(
        default={"character": 1.0, "background": 0.8, "pose": 0.7, "expression": 0.6},
        description="stacking weight by type",
    )
    prefix: str = Field(default="", description="words in front of the triggers")
    suffix: str = Field(default="", description="words behind the triggers, such as framing and view")
    negative_prompt: str = ""
    seeds: Seeds = Field(default=(1, 2, 3, 4), description="one picture each; a number n stands for 1 to n")
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")

    @field_validator("weights")
    @classmethod
    def _in_range(cls, weights: dict[LoraType, float]) -> dict[LoraType, float]:
        for kind, weight in weights.items():
            if not 0 <= weight <= 2:  # noqa: PLR2004
                message = f"the weight of {kind} is {weight}; stacking weights lie in 0..2"
                raise ValueError(message)
        return weights
