"""Judges: does a generated picture show what a LoRA was to teach? The backends by config names.

| name          | knows                                                                                     |
|---------------|-------------------------------------------------------------------------------------------|
| `world-probe` | the sample film's world: luca, gia, portorosso, poses, expressions; see `world_probe/`   |

A judge is asked only about subjects that it knows: an unknown one has no score, never a made-up one.
"""

from collections.abc import Sequence
from typing import Protocol

from data_contracts.records import LoraType
from models.backends import Backend, Backends
from models.pictures import Picture

Subject = tuple[LoraType, str]


class Judge(Protocol):
    """Says how likely pictures show a subject."""

    def knows(self, kind: LoraType, subject: str) -> bool:
        """Whether it was taught the subject of a LoRA of this type."""
        ...

    def likelihoods(self, pictures: Sequence[Picture], subjects: Sequence[Subject]) -> list[list[float]]:
        """Return for each picture, square `(H, W, 3) RGB` uint8, how likely it shows each subject, 0..1.

        Raises:
            KeyError: the judge does not know a subject.
        """
        ...


def _world_probe() -> Judge:
    from models.metrics.world_probe.judge import WorldProbe  # noqa: PLC0415

    return WorldProbe()


JUDGES: Backends[Judge] = Backends("judge", {"world-probe": Backend(_world_probe)})
