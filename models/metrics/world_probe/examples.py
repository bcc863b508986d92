"""What the probe learns from and is tested on: stills with known attributes, and frames of the sample film."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from models.metrics.truth import TruePicture, Truth
from models.metrics.world_probe.network import CLASSES
from models.pictures import Picture
from models.shots.film import Film
from models.stills import SIZE, Still, Stills, placed_heads

UNKNOWN = -1
"""The class of an attribute that a picture does not show, or that nobody wrote down."""


@dataclass(frozen=True)
class Examples:
    """Pictures `(N, 3, 128, 128)` uint8, their classes `(N, attributes)` and heads `(N, 3)`, NaN where nobody is.

    A head is x, y and radius; the picture's middle is 0, its half side 1.
    """

    pictures: torch.Tensor
    labels: torch.Tensor
    heads: torch.Tensor

    def of(self, chosen: torch.Tensor) -> "Examples":
        """Return the examples of these numbers."""
        return Examples(self.pictures[chosen], self.labels[chosen], self.heads[chosen])


def still_examples(stills: Stills, heads: Path) -> Examples:
    """Return the stills as examples; `heads` is what samples/world/find_heads.py wrote.

    Raises:
        InputFault: a line of the file is none, or the head of a still with somebody in it is missing.
    """
    return Examples(stills.pictures, still_labels(stills.stills), placed_heads(stills.stills, heads))


def joined(sets: Sequence[Examples]) -> Examples:
    """Return all examples of the sets, one set after the other."""
    columns = ([each.pictures for each in sets], [each.labels for each in sets], [each.heads for each in sets])
    return Examples(*(torch.cat(column) for column in columns))


def still_labels(stills: Sequence[Still]) -> torch.Tensor:
    """Return the classes `(N, attributes)` of the stills, in the order of CLASSES."""
    return torch.stack([_labels(_still_attributes(still)) for still in stills])


def film_examples(film: Path, truth_folder: Path, held_for: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return square pictures `(N, 3, 128, 128)` uint8 out of a film, and their classes `(N, attributes)`.

    A square is as high as the picture and centred on its character, if there is one; pictures of several are left
    out. The film shows each true picture for `held_for` frames.
    """
    truth = Truth(truth_folder)
    pictures, labels = [], []
    for frame in Film(film):
        place, late = divmod(frame.number, held_for)
        picture = truth.pictures[place]
        if late or len(picture.characters) > 1:
            continue
        pictures.append(torch.from_numpy(_square(frame.rgb, picture)).permute(2, 0, 1))
        labels.append(_labels(_film_attributes(picture)))
    return torch.stack(pictures), torch.stack(labels)


def _still_attributes(still: Still) -> dict[str, str | None]:
    attributes: dict[str, str | None] = still.model_dump(include={"kind"})
    attributes |= {"somebody": _answer(not still.empty), "portorosso": _answer(still.place == "portorosso")}
    if not still.empty:
        named = {"pose", "expression", "shot", "view", "hair", "style", "top"}
        attributes |= still.model_dump(include=named)
        attributes |= {"who": still.who or "other", "striped": _answer(still.stripe is not None)}
        if still.style == "cap":
            attributes["hair"] = None  # next to none of it is seen
        if still.stripe is not None:
            attributes["top"] = None  # both colours are as wide; which was named first cannot be seen
    return attributes


def _film_attributes(picture: TruePicture) -> dict[str, str | None]:
    """Return what the truth knows; the shot size is not part of it."""
    kinds = {"portorosso": "town", "beach": "beach", "kitchen": "room"}
    attributes: dict[str, str | None] = {
        "kind": kinds[picture.place],
        "portorosso": _answer(picture.place == "portorosso"),
        "somebody": _answer(bool(picture.characters)),
    }
    for character in picture.characters:
        striped = _answer(character.id == "luca")
        attributes |= {"who": character.id, "pose": character.pose, "expression": character.expression}
        attributes |= {"striped": striped}
    return attributes


def _labels(attributes: Mapping[str, str | None]) -> torch.Tensor:
    values = [attributes.get(name) for name in CLASSES]
    pairs = zip(CLASSES.values(), values, strict=True)
    return torch.tensor([UNKNOWN if value is None else classes.index(value) for classes, value in pairs])


def _answer(yes: bool) -> str:
    return "yes" if yes else "no"


def _square(frame: Picture, picture: TruePicture) -> Picture:
    height, width = frame.shape[:2]
    middle = width / 2
    if picture.characters:
        middle = float(picture.characters[0].points[:, 0].mean())
    left = int(np.clip(middle - height / 2, 0, width - height))
    square = cv2.resize(frame[:, left : left + height], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(square, np.uint8)
