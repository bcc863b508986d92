"""Where something that a word names is in a frame: one protocol, and its backends by their config names.

| name             | backend                                                              | weights (Hugging Face)   |
|------------------|----------------------------------------------------------------------|--------------------------|
| `grounding-dino` | Grounding DINO tiny: all words in one prompt                         | 689 MB, Apache-2.0       |
| `owlv2`          | OWLv2 base: a query a word                                           | 620 MB, Apache-2.0       |
| `sam3`           | SAM 3: a query a noun phrase, all instances of it; the hub asks for  | 3,440 MB, SAM Licence    |
|                  | its licence to be accepted                                           |                          |
| none named       | `automatic`: SAM 2's own masks on a grid of points, filtered; most   | those of SAM 2           |
|                  | are no characters, so name a detector wherever one can be had        |                          |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from models.backends import Backend, Backends
from models.segment import Image
from models.segment.boxes import Box
from models.weights import HubModel


@dataclass(frozen=True)
class DetectedBox:
    """Something found in a frame."""

    box: Box  # x0, y0, x1, y1 in pixels of the frame
    score: float  # 0..1
    word: str  # which of the words asked for; empty where none was


class Detector(Protocol):
    """Finds what its words name."""

    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what is in an `(H, W, 3)` RGB uint8 frame, the surest first, each thing once whatever its words."""
        ...


def _grounding_dino(words: Sequence[str]) -> Detector:
    from models.segment.detect.grounding_dino import GroundingDino  # noqa: PLC0415

    return GroundingDino(GROUNDING_DINO.path(), words)


def _owlv2(words: Sequence[str]) -> Detector:
    from models.segment.detect.owlv2 import Owlv2  # noqa: PLC0415

    return Owlv2(OWLV2.path(), words)


def _sam3(words: Sequence[str]) -> Detector:
    from models.segment.detect.sam3 import Sam3  # noqa: PLC0415

    return Sam3(SAM3.path(), words)


GROUNDING_DINO = HubModel(
    "IDEA-Research/grounding-dino-tiny",
    "a2bb814dd30d776dcf7e30523b00659f4f141c71",
    "Apache-2.0",
    689,
    ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
)
OWLV2 = HubModel(
    "google/owlv2-base-patch16-ensemble",
    "cfd3195ba4ea9592eec887ded089f4c08eff231d",
    "Apache-2.0",
    620,
    (
        "config.json",
        "model.safetensors",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ),
)
SAM3 = HubModel(
    "facebook/sam3",
    "3c879f39826c281e95690f02c7821c4de09afae7",
    "LicenseRef-SAM",
    3440,
    ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    gated=True,
)
DETECTORS: Backends[Detector] = Backends(
    "detector",
    {
        "grounding-dino": Backend(_grounding_dino, (GROUNDING_DINO,)),
        "owlv2": Backend(_owlv2, (OWLV2,)),
        "sam3": Backend(_sam3, (SAM3,)),
    },
)
load_detector = lru_cache(maxsize=1)(DETECTORS.load)
"""Called with a backend's name and its words: several segmenters, and whoever checks that it loads, share one."""
