"""Group the layers into characters, one vote a track, and give these the names of their references."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Identity, Layer, Rejected
from data_contracts.stages import IdentifyCharactersConfig
from models.embed import EMBEDDERS, Embedder, Embeddings
from models.embed.crop import masked_crop
from models.embed.naming import group_and_name
from models.pictures import Picture, read_rgba
from models.sheets import identities_sheet
from tasks.progress import report_progress
from tasks.stage import stage

embedder = lru_cache(maxsize=2)(EMBEDDERS.load)
BATCH = 32


@stage(Identity, version=1, sheet=identities_sheet)
def identify_characters(
    out: Path,  # noqa: ARG001
    layers: Dataset[Layer],
    config: IdentifyCharactersConfig,
) -> Iterator[Identity | Rejected]:
    """Yield who each layer shows: the same for all layers of a track."""
    network = embedder(config.embedder)
    asked = [layer for track in layers.groups("track").values() for layer in sharpest(track, config.per_track)]
    vectors = embed_in_batches(network, [layers.path(layer.cutout) for layer in asked])
    references = {name: embed_in_batches(network, list(paths)) for name, paths in config.references.items() if paths}
    tracks = group_and_name(vectors, [layer.track for layer in asked], references, config, called="character")
    for layer in layers:
        named = tracks[layer.track]
        yield Identity(
            id=f"{layer.id}:identity",
            **layer.moment(),
            layer_id=layer.id,
            track=layer.track,
            cluster=named.cluster,
            name=named.name,
            similarity=round(named.similarity, 6),
            probability=round(named.share, 6),
        )


def sharpest(track: Dataset[Layer], wanted: int) -> list[Layer]:
    """Return the sharpest layer of each of `wanted` equal spans of the track."""
    spans = np.array_split(np.arange(len(track)), min(wanted, len(track)))
    return [max((track.rows[n] for n in span), key=lambda layer: (layer.sharpness, layer.id)) for span in spans]


def embed_in_batches(network: Embedder, paths: list[Path]) -> Embeddings:
    """Return `(n, d)` unit rows for cut-outs or reference pictures; an opaque reference counts whole."""
    rows = []
    for start in range(0, len(paths), BATCH):
        crops = [alone(read_rgba(path)) for path in paths[start : start + BATCH]]
        rows.append(network.embed(crops))
        report_progress(min(1.0, (start + BATCH) / len(paths)), "embedding")
    return np.concatenate(rows)


def alone(rgba: Picture) -> Picture:
    """Return the character of an RGBA picture on plain grey."""
    return masked_crop(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]))
