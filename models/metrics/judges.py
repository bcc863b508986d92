"""Judges: does a generated picture show what a LoRA was to teach? The backends by config names.

| name          | knows                                                                                     |
|---------------|-------------------------------------------------------------------------------------------|
| `world-probe` | the sample film's world: luca, gia, portorosso, poses, expressions; see `world_probe/`   |

A judge is asked only about subjects that it knows: an unknown one has no score, never a made-up one.
"""

from collections.abc import Sequence
from typing import Protocol

from data_contracts.records import LoraType
from models.pictures import Picture

JUDGES = ("world-probe",)
FOUND_FROM = 0.5
"""A subject counts as found from this probability on."""


class Judge(Protocol):
    """Says how likely pictures show a subject."""

    def knows(self, kind: LoraType, subject: str) -> bool:
        """Whether it was taught the subject of a LoRA of this type."""
        ...

    def likelihood(self, pictures: Sequence[Picture], kind: LoraType, subject: str) -> list[float]:
        """Return how likely each picture `(H, W, 3) RGB` uint8 shows the subject, 0..1.

        Raises:
            KeyError: the judge does not know the subject.
        """
        ...


def load_judge(name: str) -> Judge:
    """Return the judge called `name` in the configuration.

    Raises:
        ValueError: no judge has this name.
    """
    if name not in JUDGES:
        message = f"no judge is called {name!r}; known are: {', '.join(JUDGES)}"
        raise ValueError(message)
    from models.metrics.world_probe.judge import WorldProbe  # noqa: PLC0415

    return WorldProbe()
