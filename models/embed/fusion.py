"""Several embedders as one, whose similarity is the weighted mean of theirs."""

from collections.abc import Sequence
from math import isclose

import numpy as np

from models.embed import Embedder, Embeddings, Image


class Fusion:
    """An `Embedder` that sets others' unit vectors side by side, each times the root of its weight.

    The dot product of two fused vectors is the sum of weight times cosine over the parts: of two parts that tell
    different characters apart, each is heard. Vectors are as wide as all parts together.
    """

    def __init__(self, parts: Sequence[tuple[Embedder, float]]) -> None:
        """Fuse `parts`, each with its share of the similarity.

        Raises:
            ValueError: the shares are not all above 0, or do not add up to 1.
        """
        shares = [share for _, share in parts]
        if not isclose(sum(shares), 1.0) or min(shares, default=0.0) <= 0:
            message = f"the shares of fused embedders are {shares}: each must be above 0, and their sum 1"
            raise ValueError(message)
        self._parts = tuple(parts)

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, d)` float32 rows of length one, d being the sum of the parts' widths."""
        vectors = [np.sqrt(share) * part.embed(images) for part, share in self._parts]
        return np.concatenate(vectors, axis=1).astype(np.float32)
