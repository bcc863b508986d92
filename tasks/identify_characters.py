"""Group the layers into characters, one vote a track, and give these the names of their references."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Identity, Layer, Rejected
from data_contracts.stages import IdentifyCharactersConfig
from models.embed import EMBEDDERS
from models.embed.crop import masked_crop
from models.embed.files import embed_files
from models.embed.naming import Pictures, group_and_name
from models.embed.suggestions import write_suggestions
from models.pictures import Picture, read_rgba
from models.sheets import identities_sheet
from tasks.progress import report_progress
from tasks.stage import stage

embedder = lru_cache(maxsize=2)(EMBEDDERS.load)


@stage(Identity, version=3, sheet=identities_sheet)
def identify_characters(
    out: Path, layers: Dataset[Layer], config: IdentifyCharactersConfig
) -> Iterator[Identity | Rejected]:
    """Yield who each layer shows, the same for all layers of a track; refuse clusters that are too impure.

    A refused cluster's layers keep its number and have no name: no LoRA learns from them.
    """
    network = embedder(config.embedder)
    asked = [layer for track in layers.groups("track").values() for layer in sharpest(track, config.per_track)]
    vectors = embed_files(network, [layers.path(layer.cutout) for layer in asked], alone, report_progress)
    references = {
        name: embed_files(network, paths, alone, report_progress) for name, paths in config.references.items() if paths
    }
    pictures = Pictures(
        vectors, [layer.track for layer in asked], [layer.cutout for layer in asked], side_by_side(layers)
    )
    naming = group_and_name(pictures, references, config, called="character")
    write_suggestions(out, naming.suggestions)
    for cluster, purity in naming.refused.items():
        yield Rejected(id=f"cluster-{cluster}", reason="impure_cluster", value=round(purity, 6))
    for layer in layers:
        named = naming.groups[layer.track]
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


def side_by_side(layers: Dataset[Layer]) -> frozenset[tuple[str, str]]:
    """Return the pairs of tracks that share a frame: nobody is in it twice."""
    return frozenset(
        pair
        for frame in layers.groups("frame_id").values()
        for pair in combinations(sorted(layer.track for layer in frame), 2)
    )


def alone(path: Path) -> Picture:
    """Return the character of an RGBA picture on plain grey; an opaque reference counts whole."""
    rgba = read_rgba(path)
    return masked_crop(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]))
