"""How much of the suite is drawn: a quick look, the standard, or what a release deserves."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Thoroughness:
    """How many categories, counted from the first, which seeds, and which strengths besides none."""

    categories: int
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]


THOROUGHNESS: Mapping[str, Thoroughness] = {
    "quick": Thoroughness(4, (1,), (1.0,)),
    "standard": Thoroughness(9, (1, 2, 3), (0.6, 0.8, 1.0)),
    "thorough": Thoroughness(9, (1, 2, 3, 4, 5), (0.4, 0.6, 0.8, 1.0, 1.2)),
}
"""20, 135 and 225 pictures at each strength, and as many without the LoRA."""
