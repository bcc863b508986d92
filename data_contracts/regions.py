"""Parts of a picture that have a prompt and LoRAs of their own."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from data_contracts.config import Config

Share = Annotated[float, Field(ge=0, le=1)]
Corners = tuple[Share, Share, Share, Share]


def _has_area(box: Corners) -> Corners:
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        message = (
            f"{list(box)} is no box: give left, top, right, bottom as shares of the picture, such as [0, 0, 0.5, 1]"
        )
        raise ValueError(message)
    return box


Box = Annotated[Corners, AfterValidator(_has_area)]
"""Left, top, right and bottom, as shares of the picture's width and height."""
Area = Box | Path
"""A box, or a picture that is white inside, as large as it likes: it is stretched over the drawn one."""


class Region(Config):
    """A part of a picture, what is drawn there, and the LoRAs that act there alone."""

    prompt: str
    loras: tuple[str, ...] = Field(default=(), description="LoRAs that act in no other region")
    area: Area | None = Field(default=None, description="null: all that no other region covers")


def columns(names: tuple[str, ...]) -> dict[str, Box]:
    """Return upright strips of equal width, one for each name, from left to right."""
    count = len(names)
    return {name: (number / count, 0.0, (number + 1) / count, 1.0) for number, name in enumerate(names)}


def overlapping(areas: Mapping[str, Area]) -> tuple[str, str] | None:
    """Return the first two names whose boxes share a part of the picture; masks are not looked into."""
    boxes = {name: area for name, area in areas.items() if not isinstance(area, Path)}
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        if max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3]):
            return one, other
    return None
