"""How a training is watched: what is measured and drawn on the way, and which step that decides for."""

from typing import Literal

from pydantic import Field, model_validator

from data_contracts.config import Config


class ValidationSettings(Config):
    """What is measured on pictures that were held out, and what follows from it."""

    validate_every: int = Field(
        default=250, ge=0, description="steps between validations, on pictures that were held out; 0: never"
    )
    validate_pictures: int = Field(
        default=16, ge=1, le=1000, description="held-out pictures of a validation, and as many learnt ones, at most"
    )
    validate_drawn: int = Field(
        default=0,
        ge=0,
        le=256,
        description="pictures drawn at each validation, of held-out captions, by sample_steps and sample_guidance: how "
        "like held-out ones they are, how different, and whether they repeat learnt ones; 0: none",
    )
    drawn_embedder: str | None = Field(
        default=None, description="a backend of models/embed, for likeness and diversity of what is drawn"
    )
    drawn_text_scorer: str | None = Field(
        default=None, description="a backend of models/metrics/text_scorers, for what is drawn and its caption"
    )
    choose: Literal["last", "best", "likeness"] = Field(
        default="last",
        description="which step's weights the LoRA has: the last; best: those that denoise held-out pictures best; "
        "likeness: those that draw what is likest to them",
    )
    patience: int = Field(
        default=0, ge=0, description="training ends after so many validations without gain over the best; 0: never"
    )

    @model_validator(mode="after")
    def _can_be_measured(self) -> "ValidationSettings":
        if not self.validate_every and (self.choose != "last" or self.patience):
            message = (
                f"choose is {self.choose!r} and patience {self.patience}, but validate_every is 0, so nothing is "
                "measured: raise validate_every, or choose 'last' with patience 0"
            )
            raise ValueError(message)
        if self.choose == "likeness" and not (self.validate_drawn and self.drawn_embedder):
            message = (
                f"choose is 'likeness', but validate_drawn is {self.validate_drawn} and drawn_embedder "
                f"{self.drawn_embedder}: draw 4 pictures or more and name an embedder, or choose 'best'"
            )
            raise ValueError(message)
        return self
