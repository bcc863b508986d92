"""DINOv2 features: which things look alike, learnt without labels or texts.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", arXiv 2304.07193: the class token after
the last layer norm, which its nearest-neighbour retrieval compares by cosine.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import Dinov2Model

from models.embed import Embeddings, Image
from models.embed.transformer import Input, embed_pictures, load_embedder
from models.normalise import IMAGENET

SIDE = 224
"""Pixels; 16 patches of 14. The position embeddings, made for 518, are interpolated."""
INPUT = Input(SIDE, IMAGENET)


class DINOv2:
    """An `Embedder`: 384-d (small), 768-d (base) or 1024-d (large)."""

    def __init__(self, folder: Path) -> None:
        """Load the network from a folder of `config.json` and `model.safetensors`."""
        self._network = load_embedder(Dinov2Model, folder)

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one."""
        if not images:
            return np.zeros((0, self._network.config.hidden_size), dtype=np.float32)
        return embed_pictures(self._network, images, INPUT, lambda answer: answer.pooler_output)
