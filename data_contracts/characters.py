"""What the test of several characters in one picture comes to: whether each stays who he is.

`compose_characters` writes it as `characters.json` beside its rows; a measure that could not be taken is not there.
"""

from pydantic import Field

from data_contracts.composition import Change
from data_contracts.config import Config
from data_contracts.generation import StackingMethod

FILE = "characters.json"
FOUND, LIKENESS = "found by", "likeness"
"""What a measure's name begins with: how likely a judge finds somebody, 0..1; how like he is to held-out frames."""


class Separation(Config):
    """How well a way of stacking keeps characters apart, by one measure, on the average over regions and seeds."""

    method: StackingMethod
    measure: str = Field(description="what says who is in a region, such as `found by world-probe`")
    own: float = Field(description="how much a region shows the character that it is of")
    bleed: float = Field(description="how much a region shows another one, the one that it shows most")
    apart: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the pictures in which the judge finds every character in their own region; None of a "
        "likeness, which has no threshold",
    )
    change: Change | None = Field(
        default=None,
        description="of own less bleed, to the summed LoRAs at the same seeds; None for the sum",
    )


class Characters(Config):
    """All numbers of the test."""

    loras: tuple[str, ...]
    seeds: int = Field(ge=1)
    separations: tuple[Separation, ...] = ()
    verdicts: tuple[str, ...] = Field(default=(), description="the same in sentences")
