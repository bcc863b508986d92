"""The settings of a LoRA's own stages, from its captions to its evaluation."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from data_contracts.config import Config, StageConfig
from data_contracts.records import LoraType
from data_contracts.sampling import SamplingConfig
from data_contracts.training import TrainSettings

CLIP_TOKENS = 77
"""What CLIP, and so Stable Diffusion, reads of a prompt at once, ends included."""
MOST_CLIP_TOKENS = 3 * (CLIP_TOKENS - 2) + 2
"""As many as are read of a longer prompt in parts, ends included."""
BODY_MARGIN = 1.2
"""How long a body's crop is, in the body's own length or width."""
FACE_SHARE = 0.5
"""How much of the height of a face's crop the face fills; the field's guides say 0.4 to 0.6."""


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
    inhabited: bool = Field(
        default=False, description="whether a place is captioned with people in it too; dataset.inhabited sets it"
    )
    buckets: bool = Field(
        default=False,
        description="crops have the bucket's shape that fits the subject best, for `train.buckets`; false: squares",
    )
    body_margin: float = Field(
        default=BODY_MARGIN,
        ge=1,
        le=4,
        description="how long a body's crop is, in the body's longer side: air around it",
    )
    face_share: float = Field(
        default=FACE_SHARE,
        ge=0.1,
        le=1,
        description="how much of its crop's height a face fills: 0.4 to 0.6 for most bases",
    )
    min_confidence: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="how sure of an expression its labeler must be where it is to be learnt: one wrong face teaches "
        "more than one face less",
    )
    deny: tuple[str, ...] = Field(
        default=(), description="words that no caption may hold, besides those that its type is denied"
    )
    max_tokens: int = Field(
        default=CLIP_TOKENS,
        ge=8,
        le=1024,
        description="tokens, ends included; longer texts lose their last clauses. Stable Diffusion reads 77, or up to "
        "227 in parts of 75, FLUX 512, Qwen-Image 1024; not set, as many less as train.embedding_vectors adds",
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
    inhabited: int = Field(
        default=0,
        ge=0,
        description="background: pictures of the place with people in it, who are left out of the loss: a place that "
        "is only known empty wipes other LoRAs' characters out where they are stacked; wants train.masked_loss, and "
        "train.masked_prior to keep people as the base draws them",
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

    @model_validator(mode="after")
    def _only_places_are_inhabited(self) -> "AssembleDatasetConfig":
        if self.inhabited and self.type != "background":
            message = f"inhabited is {self.inhabited}, but a {self.type} has no people in it: only backgrounds have"
            raise ValueError(message)
        return self


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


class EvaluateLoraConfig(SamplingConfig):
    """The pictures that show what one LoRA does."""

    prompts: tuple[str, ...] = Field(min_length=1, description="`{trigger}` stands for the LoRA's trigger")
    weight: float = Field(default=1.0, ge=0, le=2)
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")


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
