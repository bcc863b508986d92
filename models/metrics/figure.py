"""A value with its support: how many items it is the figure of."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Figure(BaseModel):
    """One measured value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(allow_inf_nan=False)
    support: int = Field(ge=0, description="how many items the value was taken over")
    better: Literal["higher", "lower"] = "higher"
    note: str = Field(description="unit of the value, and what the support counts")


Figures = dict[str, Figure]


def share(part: float, whole: float) -> float | None:
    """Return `part / whole`, or None where there is no whole."""
    return part / whole if whole else None


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return share(sum(values), len(values))


def figure(
    value: float | None, support: int, note: str, better: Literal["higher", "lower"] = "higher"
) -> Figure | None:
    """Return the value as a figure, or None where there is no value."""
    return None if value is None else Figure(value=value, support=support, better=better, note=note)


def present(**figures: Figure | None) -> Figures:
    """Return the figures that have a value, by their names."""
    return {name: found for name, found in figures.items() if found is not None}
