"""What people have decided about training pictures: captions rewritten, pictures turned down."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from data_contracts.config import Config
from data_contracts.faults import InputFault
from data_contracts.whole_file import whole_file

SAME_SQUARE = 0.7
"""Share of their union that two crops of a frame have in common when they show the same thing."""
Square = tuple[float, float, float, float]


class Decision(Config):
    """A decision about what is seen in a crop of a film frame.

    Neither the number of a track nor the bytes of a crop name it: both change when a stage before is run again.
    """

    film: str
    frame: int = Field(ge=0)
    box: Square = Field(description="x0, y0, x1, y1 in frame pixels")
    verdict: Literal["caption", "reject"]
    caption: str = Field(default="", description="the new text, for `caption`")
    tokens: int = Field(default=0, ge=0, description="of the new text, both ends included")

    def is_about(self, film: str, frame: int, box: Square) -> bool:
        """Whether it was made about this crop, or one that shows nearly the same."""
        return self.film == film and self.frame == frame and _overlap(self.box, box) >= SAME_SQUARE


def read_decisions(path: Path) -> tuple[Decision, ...]:
    """Read JSON lines of decisions; none where the file is missing.

    Raises:
        InputFault: a line is not a decision.
    """
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() also cuts at U+0085 and the like
    try:
        return tuple(TypeAdapter(Decision).validate_json(line) for line in lines if line.strip())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        message = f"{path.name}: a line is no decision ({fault['msg']}): mend it, or delete the line"
        raise InputFault(message) from error


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write decisions as JSON lines in a fixed order, beside and renamed."""
    ordered = sorted(decisions, key=lambda each: (each.film, each.frame, each.box))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        beside.write_text("".join(each.model_dump_json() + "\n" for each in ordered), encoding="utf-8")


def _overlap(one: Square, other: Square) -> float:
    """Return the intersection over union of two crops."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else float(one == other)
