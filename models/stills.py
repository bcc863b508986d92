"""Captioned stills: pictures, what they show in words, and which of them training never sees."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.faults import InputFault
from models.pictures import read_rgb

SIZE = 128
HELD_OUT = 400
"""So many stills, the last of the folder, are held out: from the base model and from the probe alike."""


class Still(BaseModel):
    """One line of `captions.jsonl`; what concerns a character is None in an empty scene."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(pattern=r"^\d{6}(-\d)?\.jpg$")]
    caption: str = Field(min_length=1)
    kind: str
    empty: bool
    pose: str | None = None
    expression: str | None = None
    shot: str | None = None
    view: str | None = None
    hair: str | None = None
    style: str | None = None
    top: str | None = None
    stripe: str | None = None
    girl: bool | None = None
    who: str | None = None
    place: str | None = None
    group: int | None = None
    """The number of the group of stills that are alike but for a pose or an expression."""


class HeadLine(BaseModel):
    """A line of what samples/world/find_heads.py writes: x, y and radius of a still's head in pixels."""

    model_config = ConfigDict(frozen=True)

    name: str
    head: tuple[float, float, float]


@dataclass(frozen=True)
class Stills:
    """Pictures `(N, 3, 128, 128)` RGB uint8 and what they show."""

    pictures: torch.Tensor
    stills: Sequence[Still]

    @property
    def captions(self) -> list[str]:
        """What is said of each."""
        return [still.caption for still in self.stills]

    def __add__(self, others: "Stills") -> "Stills":
        """Return these stills and the others."""
        return Stills(torch.cat([self.pictures, others.pictures]), [*self.stills, *others.stills])


def read_stills(folder: Path, last: int = HELD_OUT) -> tuple[Stills, Stills]:
    """Return the stills of `folder` to train with, and the `last` ones, held out.

    Raises:
        InputFault: a line is no still, a picture is missing or of another size, or too few are there.
    """
    stills = read_captions(folder)
    if len(stills) <= last:
        message = (
            f"{folder} has {len(stills)} stills, of which the last {last} are held out: none is left to train with"
        )
        raise InputFault(message)
    pictures = torch.stack([_read_picture(folder / still.name) for still in stills])
    kept = len(stills) - last
    return Stills(pictures[:kept], stills[:kept]), Stills(pictures[kept:], stills[kept:])


def read_captions(folder: Path) -> list[Still]:
    """Return the stills that the `captions*.jsonl` of `folder` name, in the order of their numbers.

    Raises:
        InputFault: there is no such file, or a line of one is no still.
    """
    paths = sorted(folder.glob("captions*.jsonl"))
    if not paths:
        message = f"{folder} has no captions.jsonl: give the folder of the captioned stills"
        raise InputFault(message)
    return sorted((still for path in paths for still in _read_lines(path)), key=lambda still: still.name)


def placed_heads(stills: Sequence[Still], path: Path) -> torch.Tensor:
    """Return x, y and radius `(N, 3)` of each still's head, which `path` gives in pixels; NaN where nobody is.

    The picture's middle is 0, its half side 1.

    Raises:
        InputFault: a line of the file is none, or a head is missing.
    """
    try:
        lines = [HeadLine.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValidationError) as error:
        message = f"{path} is no list of heads as samples/world/find_heads.py writes it: {error}"
        raise InputFault(message) from error
    known = {line.name: line.head for line in lines}
    if missing := [still.name for still in stills if not still.empty and still.name not in known]:
        message = f"{path} does not say where the head of {missing[0]} is: make it anew by samples/world/find_heads.py"
        raise InputFault(message)
    nobody = (float("nan"),) * 3
    rows = [nobody if still.empty else known[still.name] for still in stills]
    return torch.tensor(rows) * 2 / SIZE - torch.tensor([1.0, 1.0, 0.0])


def _read_lines(path: Path) -> list[Still]:
    stills = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            stills.append(Still.model_validate(json.loads(line)))
        except (json.JSONDecodeError, ValidationError) as error:
            message = f"{path}, line {number}: {error}"
            raise InputFault(message) from error
    return stills


def unit_range(pictures: torch.Tensor) -> torch.Tensor:
    """Return uint8 pictures as float32 in -1..1."""
    return pictures.float() / 127.5 - 1


def _read_picture(path: Path) -> torch.Tensor:
    try:
        picture = read_rgb(path)
    except ValueError as error:
        message = f"still {path}: {error}"
        raise InputFault(message) from error
    if picture.shape != (SIZE, SIZE, 3):
        message = f"still {path} is {picture.shape[1]}x{picture.shape[0]}; {SIZE}x{SIZE} is trained"
        raise InputFault(message)
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()
