"""What a data set for another trainer is made of, whatever the trainer's own format is."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from data_contracts.faults import InputFault, rule_of
from data_contracts.records import Example, Role
from data_contracts.training import trigger_parts

Split = Literal["train", "held_out"]


class ExportItem(BaseModel):
    """One picture of an export: what every trainer is told of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Path = Field(description="a picture; its transparency does not belong to it")
    mask: Path | None = Field(
        description="8-bit weight of the loss; the picture itself: its alpha channel; None: every pixel counts"
    )
    caption: str = Field(description="one line, trigger first")
    repeats: int = Field(ge=1, description="times seen in an epoch; 1 where held out")
    split: Split
    role: Role = "subject"

    @field_validator("caption")
    @classmethod
    def _is_one_line(cls, caption: str) -> str:
        if not caption.strip():
            message = "the caption is blank: a trainer would learn the picture without words; write one"
            raise ValueError(message)
        if len(caption.splitlines()) > 1 or caption.splitlines()[0] != caption:
            message = f"the caption {caption!r} has a line break, and trainers read the first line alone: make it one"
            raise ValueError(message)
        if any(0xD800 <= ord(letter) < 0xE000 for letter in caption):  # noqa: PLR2004  surrogates
            message = f"the caption {caption!r} holds half a character, which no UTF-8 file can: write it anew"
            raise ValueError(message)
        return caption

    @model_validator(mode="after")
    def _held_out_is_seen_once(self) -> "ExportItem":
        if self.split == "held_out" and self.repeats != 1:
            message = f"held out and repeated {self.repeats} times: no trainer repeats what it only measures; use 1"
            raise ValueError(message)
        return self


class ExportSettings(BaseModel):
    """What a trainer's configuration says of the whole data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="dataset", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="names the trainer's data sets")
    trigger: str = Field(default="", description="words that stand first in the subject's captions")
    resolution: int = Field(ge=64, multiple_of=8, description="side in pixels of the square of equal area")

    @property
    def keep_tokens(self) -> int:
        """How many of a caption's parts stay in front where a trainer shuffles the rest."""
        return trigger_parts(self.trigger)


def items_of(files: Path, examples: Iterable[Example]) -> tuple[ExportItem, ...]:
    """Return the items of assembled examples, whose pictures lie in `files`.

    Raises:
        InputFault: a caption cannot be exported; the message names each such example.
    """
    items: list[ExportItem] = []
    faults: list[str] = []
    for example in examples:
        fields = {
            "image": files / example.image,
            "mask": files / example.mask if example.mask else None,
            "caption": example.caption,
            "repeats": example.repeats if example.split == "train" else 1,
            "split": example.split,
            "role": example.role,
        }
        try:
            items.append(checked_item(example.id, fields))
        except InputFault as fault:
            faults.append(str(fault))
    if faults:
        raise InputFault("\n".join(faults))
    return tuple(items)


def checked_item(where: str, fields: dict[str, Any]) -> ExportItem:
    """Return an item.

    Raises:
        InputFault: a field breaks its rule; the message begins with `where`.
    """
    try:
        return ExportItem.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(rule_of(fault) for fault in error.errors())
        message = f"{where}: {reasons}"
        raise InputFault(message) from error
