"""Pictures on disk as embeddings, a batch in memory at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.embed import Embedder, Embeddings, Image

BATCH = 32


def embed_files(
    network: Embedder, paths: Sequence[Path], read: Callable[[Path], Image], progress: Callable[[float, str], None]
) -> Embeddings:
    """Return `(n, d)` float32 unit rows for n picture files.

    Args:
        network: what embeds.
        paths: the files.
        read: opens one as `(H, W, 3)` RGB uint8.
        progress: told the share done, 0..1, after each batch.
    """
    rows = [network.embed([])]
    for start in range(0, len(paths), BATCH):
        rows.append(network.embed([read(path) for path in paths[start : start + BATCH]]))
        progress(min(1.0, (start + BATCH) / len(paths)), "embedding")
    return np.concatenate(rows)
