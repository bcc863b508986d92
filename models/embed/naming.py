"""From embeddings to names: clusters, one vote a track or shot, names from references, numbers for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.embed import Embeddings
from models.embed.cluster import (
    NOISE,
    Clustering,
    ClusterRules,
    centroids,
    cluster,
    merge_named,
    name_clusters,
    vote_by_track,
)


class NamingConfig(Protocol):
    """What the configurations of places and of characters have in common."""

    @property
    def min_cluster_size(self) -> int:
        """Rows of the smallest cluster."""
        ...

    @property
    def min_samples(self) -> int:
        """HDBSCAN's."""
        ...

    @property
    def merge_similarity(self) -> float:
        """Mean cosine above which two fragments are one."""
        ...

    @property
    def min_similarity(self) -> float:
        """Cosine to a reference that names a cluster."""
        ...


@dataclass(frozen=True)
class Named:
    """What a track or shot was found to be: cluster (-1 is noise), name, cosine to the reference, share of votes."""

    cluster: int
    name: str
    similarity: float
    share: float


def group_and_name(
    vectors: Embeddings,
    groups: Sequence[str],
    references: Mapping[str, Embeddings],
    config: NamingConfig,
    *,
    called: str,
) -> dict[str, Named]:
    """Return what each group (a track, a shot) is: its rows vote, and clusters without a reference are numbered.

    Args:
        vectors: `(n, d)` unit rows.
        groups: the group of each row.
        references: `(m, d)` unit rows for each name.
        config: thresholds.
        called: word before the number of an unnamed cluster, such as "place".
    """
    rules = ClusterRules(config.min_cluster_size, config.min_samples, merge_similarity=config.merge_similarity)
    found = cluster(vectors, rules)
    matches = name_clusters(centroids(vectors, found.labels), references, config.min_similarity)
    merged = Clustering(merge_named(found.labels, matches), found.probabilities)
    winners = vote_by_track(merged, groups)
    unnamed = sorted({int(label) for label in merged.labels} - {NOISE} - set(matches))
    numbers = {label: f"{called}-{number}" for number, label in enumerate(unnamed, start=1)}
    names = np.asarray(groups)
    result = {}
    for group, label in winners.items():
        match = matches.get(label)
        share = float((merged.labels[names == group] == label).mean())
        name = match.name if match else numbers.get(label, "")
        result[group] = Named(label, name, match.similarity if match else 0.0, share)
    return result
