"""The rows of what is made with data sets: trained LoRAs, and the pictures that test them alone and together."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.records import BaseFamily, FileName, LoraType, Record


class LoraFile(Record):
    """A trained LoRA in kohya's key format, vectors that are read for its trigger, or both."""

    name: str
    type: LoraType
    subject: str
    trigger: str
    family: BaseFamily
    weights: FileName | None = Field(description="None where an embedding alone was learnt")
    embedding: FileName | None = Field(
        default=None, description="vectors that were learnt for the words of the trigger; None: they are read as words"
    )
    clip_skip: int = Field(default=1, ge=1, description="the text encoder's layer that it reads, counted from the last")
    loss_log: FileName = Field(description="JSON lines: step, loss")
    samples: tuple[FileName, ...] = Field(description="pictures made while training, in order of their steps")
    sample_steps: tuple[int, ...]
    drawn: tuple[FileName, ...] = Field(
        default=(), description="pictures that validations drew, in order of their steps, of the same captions in each"
    )
    drawn_steps: tuple[int, ...] = Field(default=(), description="of each of `drawn`; 0: the base model")
    drawn_captions: tuple[str, ...] = Field(default=(), description="what each of a step's pictures was to show")
    steps: int = Field(ge=1, description="steps that were trained; fewer than asked for where patience ended it")
    final_loss: float = Field(description="mean of the last tenth of the steps")
    chosen_step: int | None = Field(default=None, ge=1, description="the step whose weights these are; None: the last")
    validation_log: FileName | None = Field(
        default=None, description="JSON lines: the loss on held-out pictures by step; None where there is none"
    )
    best_step: int | None = Field(
        default=None, ge=1, description="the step whose validation is best, by held-out loss or as `choose` says"
    )
    base_held_out_loss: float | None = Field(default=None, description="of the base model, without the LoRA")
    held_out_loss: float | None = Field(default=None, description="of the LoRA, where its step was validated")
    learnt_loss: float | None = Field(default=None, description="as held_out_loss, on pictures that it learnt from")
    base_likeness: float | None = Field(default=None, description="of what the base model draws to held-out pictures")
    likeness: float | None = Field(default=None, description="of what the LoRA draws, where its step was validated")
    copies: int | None = Field(default=None, ge=0, description="pictures among those that repeat a learnt one")
    dataset_digest: str = Field(description="content digest of the examples")
    shots: tuple[str, ...] = Field(description="the shots that it learnt from")


class LoraWeight(BaseModel):
    """How strongly one LoRA of a stack is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: str
    weight: float


def lora_weights(weights: Mapping[str, float]) -> tuple[LoraWeight, ...]:
    """Return the weights of a stack, by LoRA, as rows hold them."""
    return tuple(LoraWeight(lora=name, weight=weight) for name, weight in weights.items())


class Finding(BaseModel):
    """Whether a generated picture shows what one LoRA was to teach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: str
    probability: float = Field(ge=0, le=1)

    @property
    def is_found(self) -> bool:
        """Whether the judge thinks so rather than not."""
        return self.probability >= 0.5  # noqa: PLR2004  more likely than not


class Picture(Record):
    """One generated picture, with the seed and the LoRA weights that made it."""

    variant: str = Field(description="name of the set of weights, such as `all` or `without-luca`")
    weights: tuple[LoraWeight, ...]
    prompt: str
    seed: int
    image: FileName
    findings: tuple[Finding, ...] = Field(description="one for each LoRA whose subject the judge knows")


class Evaluation(Picture):
    """A picture of one LoRA's evaluation: with and without it, same prompt and seed."""

    sharpness: float = Field(ge=0)
    changed: float = Field(ge=0, le=255, description="mean absolute difference to the picture without the LoRA")


class StackPicture(Picture):
    """A picture of the composition test."""

    changed: float = Field(ge=0, le=255, description="mean absolute difference to the base's picture of that seed")


class Sight(BaseModel):
    """How much one region of a picture shows one character."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str = Field(description="LoRA of the character that the region is of")
    lora: str = Field(description="LoRA of the character that is looked for")
    measure: str = Field(description="`found by` a judge, a probability, or `likeness` by an embedder, a cosine")
    value: float


class CharactersPicture(Picture):
    """A picture of several characters; the variant is the way of stacking."""

    sights: tuple[Sight, ...] = Field(
        description="of all regions and characters; where a method is not told who belongs where, regions are taken "
        "for the characters that suit the picture best"
    )


class WayPicture(Picture):
    """A picture of a stack of LoRAs; the variant is the way of stacking: a sum's set of weights, or another way."""


class WeightTrial(Record):
    """A stack of LoRAs at weights that a search tried, and how it does on the search's seeds."""

    origin: Literal["configured", "alike", "by_gain", "proposed"] = Field(
        description="alike: one weight for all; by_gain: the configured ones, the largest to who gains least alone"
    )
    weights: tuple[LoraWeight, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...] = Field(description="by seed: geometric mean of the LoRAs' probabilities, 0..1")
    score: float = Field(ge=0, le=1, description="mean of scores")
    found: tuple[float, ...] = Field(description="by LoRA, as weights: share of the pictures that show its subject")
    best_in: float = Field(ge=0, le=1, description="share of draws of the seeds in which no other trial is better")
    recommended: bool = Field(description="whether it is the best of all")


class SuitePicture(Record):
    """A picture of the evaluation suite."""

    category: str = Field(description="what its prompt tries, such as `angles`")
    prompt: str
    seed: int
    strength: float = Field(ge=0, description="weight of the LoRA; 0: the base model alone")
    image: FileName


class Score(BaseModel):
    """One measure of one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: str = Field(description="what is measured, and by what, such as `likeness dinov2-base`")
    value: float


class CopyCheck(BaseModel):
    """How far a picture is from what the LoRA has seen, and from what it has not; 0..2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nearest: str = Field(description="id of the training example that it is nearest to")
    to_training: float = Field(ge=0, le=2, description="distance of its layout to that example's")
    to_held_out: float = Field(ge=0, le=2, description="distance to the nearest held-out example's")
    is_copy: bool = Field(description="whether it repeats the training example, by the rule of models/metrics/copying")


class SuiteScores(Record):
    """What was measured on one picture of the evaluation suite; what could not be measured is not there."""

    picture_id: str
    category: str
    prompt: str
    seed: int
    strength: float = Field(ge=0, description="weight of the LoRA; 0: the base model alone")
    findings: tuple[Finding, ...] = Field(description="whether the judge finds the LoRA's subject")
    scores: tuple[Score, ...]
    copying: CopyCheck | None = Field(description="None where too few pictures are held out")
