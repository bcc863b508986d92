"""The exact truth of a rendered film: what each picture shows, its masks, and its plates."""

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.faults import InputFault
from models.metrics.overlap import Mask

MASK_STEP = 20
"""A mask's value is this times the character's index, counted from 1."""


class TrueCharacter(BaseModel):
    """A character in one picture."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(min_length=1)
    index: Annotated[int, Field(ge=1, le=255 // MASK_STEP)]
    pose: str
    expression: str
    keypoints: tuple[tuple[float, float, int], ...] = Field(
        min_length=17, max_length=17, description="17 COCO keypoints as x, y in pixels and whether inside the picture"
    )

    @property
    def is_full_body(self) -> bool:
        """Whether all keypoints lie inside the picture."""
        return all(inside for _, _, inside in self.keypoints)

    @property
    def points(self) -> NDArray[np.float64]:
        """The keypoints, `(17, 2)` pixels."""
        return np.array([point[:2] for point in self.keypoints], np.float64)


class TruePicture(BaseModel):
    """One line of `truth.jsonl`; a picture may be held for several film frames."""

    model_config = ConfigDict(frozen=True)

    frame: int = Field(ge=0, description="number of the picture, counted from 0")
    shot: int = Field(ge=0)
    place: str = Field(min_length=1)
    characters: tuple[TrueCharacter, ...]

    def character(self, name: str) -> TrueCharacter | None:
        """Return the character of that id, or None where the picture does not show it."""
        return next((character for character in self.characters if character.id == name), None)


class Truth:
    """A folder with `truth.jsonl`, `masks/NNNNNN.png` and, for some pictures, `plates/NNNNNN.png`.

    Raises:
        InputFault: the folder has no `truth.jsonl`, or a line of it is not a picture's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "truth.jsonl"
        if not path.is_file():
            message = f"{folder} is no truth: it has no truth.jsonl; name the folder that holds it, masks/ and plates/"
            raise InputFault(message)
        lines = path.read_text(encoding="utf-8").splitlines()
        self.pictures = tuple(_picture(path, number, line) for number, line in enumerate(lines))
        if not self.pictures:
            message = f"{path} is empty: the truth has one line for each picture of the film"
            raise InputFault(message)

    @cached_property
    def boundaries(self) -> frozenset[int]:
        """The numbers of the pictures that begin a shot, the film's first left out."""
        pairs = zip(self.pictures, self.pictures[1:], strict=False)
        return frozenset(after.frame for before, after in pairs if before.shot != after.shot)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        height, width = self.mask_values(self.pictures[0]).shape
        return width, height

    def masks(self, picture: TruePicture) -> dict[str, Mask]:
        """Return the `(H, W)` mask of each character of which at least a pixel is seen."""
        values = self.mask_values(picture)
        masks = {character.id: values == MASK_STEP * character.index for character in picture.characters}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def mask_values(self, picture: TruePicture) -> NDArray[np.uint8]:
        """Return the picture's mask, `(H, W)` uint8, 0 where nobody is.

        Raises:
            InputFault: the picture has no mask file.
        """
        path = self.folder / "masks" / f"{picture.frame:06d}.png"
        if not path.is_file():
            message = f"the truth has no mask for picture {picture.frame}: {path} is missing; restore the file"
            raise InputFault(message)
        return np.asarray(Image.open(path).convert("L"))

    def plate(self, picture: TruePicture) -> NDArray[np.uint8] | None:
        """Return the picture without anybody, `(H, W, 3) RGB uint8`, or None where the truth has none."""
        path = self.folder / "plates" / f"{picture.frame:06d}.png"
        return np.asarray(Image.open(path).convert("RGB")) if path.is_file() else None


def _picture(path: Path, number: int, line: str) -> TruePicture:
    """Return the picture of one line, which must be the line's own."""
    try:
        picture = TruePicture.model_validate_json(line)
    except ValidationError as error:
        message = f"{path} line {number + 1} is no picture's truth: {error.errors()[0]['msg']}; repair the line"
        raise InputFault(message) from error
    if picture.frame != number:
        message = f"{path} line {number + 1} is of picture {picture.frame}, not {number}: lines are in order, from 0"
        raise InputFault(message)
    return picture
