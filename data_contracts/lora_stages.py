"""The settings of a LoRA's own stages, from its captions to the composition test."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from data_contracts.config import Config, StageConfig
from data_contracts.generation import MOST_SEEDS, Precision, Seeds
from data_contracts.records import LoraType
from data_contracts.training import TrainSettings

FIRST_SEARCH_SEED = 100_001
"""Above all seeds that a number stands for elsewhere."""


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
    buckets: bool = Field(
        default=False,
        description="crops have the bucket's shape that fits the subject best, for `train.buckets`; false: squares",
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
        default=0,
        ge=0,
        description="pictures of others than the subject, without trigger, that keep them as they are; repeated until "
        "they weigh as much as the subject's",
    )
    resolution: int = Field(
        default=512, ge=64, multiple_of=8, description="pixels of square crops; others have their area, nearly"
    )
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
    repeats: int = Field(default=10, ge=1, description="times that a picture of the subject is seen in an epoch")


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

    @model_validator(mode="after")
    def _trainer_can_choose(self) -> "TrainLoraConfig":
        if self.trainer != "native" and (self.settings.choose != "last" or self.settings.patience):
            message = (
                f"trainer {self.trainer!r} validates nothing, so it cannot train with choose {self.settings.choose!r} "
                f"and patience {self.settings.patience}: set 'last' and 0, or train with 'native'"
            )
            raise ValueError(message)
        return self


class SamplingConfig(StageConfig):
    """How pictures are drawn, all but what they show."""

    seeds: Seeds = Field(default=(1, 2, 3), description="one picture each; a number n stands for 1 to n")
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    precision: Precision = "float32"


class EvaluateLoraConfig(SamplingConfig):
    """The pictures that show what one LoRA does."""

    prompts: tuple[str, ...] = Field(min_length=1, description="`{trigger}` stands for the LoRA's trigger")
    weight: float = Field(default=1.0, ge=0, le=2)
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")


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


class SuitePrompt(Config):
    """A prompt of the evaluation suite."""

    category: str = Field(min_length=1)
    text: str = Field(min_length=1)


class DrawSuiteConfig(SamplingConfig):
    """The pictures of the evaluation suite: each prompt and seed without the LoRA, and at each strength."""

    prompts: tuple[SuitePrompt, ...] = Field(min_length=1)
    strengths: tuple[Annotated[float, Field(gt=0, le=2)], ...] = Field(min_length=1)

    @property
    def pictures(self) -> int:
        """How many pictures that is."""
        return len(self.prompts) * len(self.seeds) * (1 + len(self.strengths))


class EvaluateSuiteConfig(StageConfig):
    """What is measured on the suite's pictures: only what can be on this machine, and why the rest cannot."""

    embedders: tuple[str, ...] = Field(
        default=(), description="backends of models/embed, for likeness; the first for diversity"
    )
    text_scorers: tuple[str, ...] = Field(default=(), description="backends of models/metrics/text_scorers")
    plain: dict[str, str] = Field(
        default_factory=dict,
        description="for text scorers, by prompt: the same with the subject's class in the trigger's place",
    )
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges")
    absent: dict[str, str] = Field(default_factory=dict, description="measures that cannot be taken here, and why")
