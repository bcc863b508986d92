"""CLIP's picture embeddings: what a caption would say of a picture.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020. All cosines
between pictures are high, since CLIP's pictures lie in a narrow cone (Liang et al., arXiv 2203.02053): limits that
suit other embedders unite everything here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import CLIPVisionModelWithProjection

from models.embed import Embeddings, Image
from models.embed.transformer import Input, embed_pictures, load_embedder
from models.normalise import CLIP


class CLIPVision:
    """An `Embedder`: the projected picture embedding, 768-d for ViT-L/14; the text half is never loaded."""

    def __init__(self, folder: Path) -> None:
        """Load the picture half from a folder of `config.json` and `model.safetensors`."""
        self._network = load_embedder(CLIPVisionModelWithProjection, folder)
        self._input = Input(self._network.config.image_size, CLIP)

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one."""
        if not images:
            return np.zeros((0, self._network.config.projection_dim), dtype=np.float32)
        return embed_pictures(self._network, images, self._input, lambda answer: answer.image_embeds)
