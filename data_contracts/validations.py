"""What a training is like after some of its steps: a line of validation.jsonl."""

from pathlib import Path
from statistics import fmean

from pydantic import Field

from data_contracts.config import Config
from data_contracts.results import CopyCheck


class Drawn(Config):
    """What was measured on the pictures that a validation drew, picture by picture; what could not be is empty."""

    pictures: int = Field(ge=1)
    likeness: tuple[float, ...] = Field(default=(), description="mean cosine to the held-out pictures, by one embedder")
    text: tuple[float, ...] = Field(default=(), description="cosine to what the caption says, by one text scorer")
    copying: tuple[CopyCheck, ...] = Field(default=(), description="nearest learnt picture, by its file's name")
    diversity: float | None = Field(default=None, ge=0, description="effective number of different pictures")

    @property
    def copies(self) -> int | None:
        """How many repeat a learnt picture; None where that was not measured."""
        return sum(each.is_copy for each in self.copying) if self.copying else None

    @property
    def mean_likeness(self) -> float | None:
        """Mean over the pictures; None where it was not measured."""
        return fmean(self.likeness) if self.likeness else None

    @property
    def mean_text(self) -> float | None:
        """Mean over the pictures; None where it was not measured."""
        return fmean(self.text) if self.text else None


class Validation(Config):
    """How well a LoRA denoises pictures, at the same noise in every line, and what it draws, from the same noise."""

    step: int = Field(ge=0, description="finished optimizer steps; 0 is the base model")
    held_out: tuple[float, ...] = Field(min_length=1, description="loss of each picture never learnt from")
    learnt: tuple[float, ...] = Field(default=(), description="loss of each picture learnt from")
    drawn: Drawn | None = Field(default=None, description="of pictures drawn at this step; None: none were")

    @property
    def loss(self) -> float:
        """Mean over the held-out pictures."""
        return fmean(self.held_out)

    @property
    def learnt_loss(self) -> float | None:
        """Mean over the learnt pictures; None where none were measured."""
        return fmean(self.learnt) if self.learnt else None


def read_validations(path: Path) -> tuple[Validation, ...]:
    """Read a validation.jsonl; none where the file is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple(Validation.model_validate_json(line) for line in lines)


def drawn_path(output: Path, step: int, number: int) -> Path:
    """Return where a training keeps the picture of a prompt, counted from 0, at a step."""
    return output / "drawn" / f"step-{step:06}-{number:02}.png"
