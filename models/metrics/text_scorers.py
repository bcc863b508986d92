"""How well does a picture show what its prompt says? The backends by config names.

| name                        | backend                                           | weights            |
|-----------------------------|---------------------------------------------------|--------------------|
| `clip-vit-large-patch14`    | cosine of CLIP's two embeddings, CLIP-T           | hub, MIT           |
| `siglip2-base-patch16-224`  | the same of SigLIP 2                              | hub, Apache-2.0    |

Trigger words mean nothing to them: ask with the subject's class in the trigger's place.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.embed import CLIP
from models.pictures import Picture
from models.weights import HubModel


class TextScorer(Protocol):
    """Compares pictures with texts."""

    def scores(self, pictures: Sequence[Picture], texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the cosine of each of n pictures, `(H, W, 3) RGB` uint8, to its own text, `(n,)`."""
        ...


def _clip() -> TextScorer:
    from models.metrics.text_image import clip_scorer  # noqa: PLC0415

    return clip_scorer(CLIP.path())


def _siglip2() -> TextScorer:
    from models.metrics.text_image import siglip2_scorer  # noqa: PLC0415

    return siglip2_scorer(SIGLIP2.path())


SIGLIP2 = HubModel(
    "google/siglip2-base-patch16-224",
    "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
    "Apache-2.0",
    1535,
    files=("config.json", "model.safetensors", "tokenizer.json"),
)

TEXT_SCORERS: Backends[TextScorer] = Backends(
    "text scorer",
    {"clip-vit-large-patch14": Backend(_clip, (CLIP,)), "siglip2-base-patch16-224": Backend(_siglip2, (SIGLIP2,))},
)
