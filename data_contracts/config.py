"""What all stage configurations have in common."""

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """A frozen set of named values; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,  # a float's default of 1 is 1.0, as it is when it is read back: digests tell them apart
    )


class StageConfig(Config):
    """What every stage can be told."""

    max_rejected_share: float = Field(
        default=1.0, ge=0, le=1, description="fail when a larger share of the items is refused"
    )
    may_be_empty: bool = Field(default=False, description="whether an empty result is success")
