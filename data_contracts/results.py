"""The rows of what is made with data sets: trained LoRAs, and the pictures that test them alone and together."""

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.records import BaseFamily, FileName, LoraType, Record


class LoraFile(Record):
    """A trained LoRA in kohya's key format."""

    name: str
    type: LoraType
    subject: str
    trigger: str
    family: BaseFamily
    weights: FileName
    loss_log: FileName = Field(description="JSON lines: step, loss")
    samples: tuple[FileName, ...] = Field(description="pictures made while training, in order of their steps")
    sample_steps: tuple[int, ...]
    steps: int = Field(ge=1)
    final_loss: float = Field(description="mean of the last tenth of the steps")
    dataset_digest: str = Field(description="content digest of the examples")
    shots: tuple[str, ...] = Field(description="the shots that it learnt from")


class LoraWeight(BaseModel):
    """How strongly one LoRA of a stack is applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: str
    weight: float


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
