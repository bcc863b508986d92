"""How much a set of pictures differs: a LoRA that always draws the same picture has learnt that picture."""

import numpy as np

from models.embed import Embeddings


def vendi_score(embeddings: Embeddings) -> float | None:
    """Return the effective number of different pictures among n, 1..n; None of fewer than two.

    It is the exponential of the entropy of the eigenvalues of K / n, K being the matrix of cosines: Friedman and Dieng,
    "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", TMLR 2023. Sets of different sizes, and
    different embedders, cannot be compared.

    Args:
        embeddings: `(n, d)` unit rows.
    """
    if len(embeddings) < 2:  # noqa: PLR2004
        return None
    rows = embeddings.astype(np.float64) / np.sqrt(len(embeddings))
    values = np.square(np.linalg.svd(rows, compute_uv=False))  # the eigenvalues of K / n that are not 0
    shares = values[values > 1e-12] / values.sum()  # noqa: PLR2004  0 log 0 is 0
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_distance(embeddings: Embeddings) -> float | None:
    """Return the mean of 1 - cosine over all pairs of `(n, d)` unit rows, 0..2; None of fewer than two."""
    count = len(embeddings)
    if count < 2:  # noqa: PLR2004
        return None
    total = embeddings.sum(axis=0, dtype=np.float64)
    own = np.square(embeddings, dtype=np.float64).sum()
    return float(1 - (total @ total - own) / (count * (count - 1)))
