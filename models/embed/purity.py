"""How far a cluster is what its name says: a gate against mixed clusters, which would teach a LoRA two characters."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings
from models.embed.bounds import Labels
from models.embed.cluster import NameMatch, centroids
from models.embed.linkage import BLOCK

Truths = NDArray[np.bool_]


def purities(labels: Labels, votes: Labels, supports: Truths) -> dict[int, float]:
    """Return the purity of each cluster that a track voted for, 0..1.

    It is the share of the rows of its tracks that were put into the cluster and support it.

    Args:
        labels: `(n,)` the cluster that each row was put into.
        votes: `(n,)` the cluster that the row's track voted for, -1 for none.
        supports: `(n,)` whether the row supports the cluster it was put into.
    """
    borne_out = (labels == votes) & supports
    found, places, rows = np.unique(votes, return_inverse=True, return_counts=True)
    shares = np.bincount(places, weights=borne_out, minlength=len(found)) / rows
    return {int(label): float(share) for label, share in zip(found, shares, strict=True) if label >= 0}


def is_nearest_to_own(embeddings: Embeddings, labels: Labels) -> Truths:
    """Return whether each row is more like its own cluster's centre than like any other's, `(n,)`.

    This is the sign of the simplified silhouette (Vendramin, Campello, Hruschka, "Relative Clustering Validity
    Criteria: A Comparative Overview", 2010). Noise rows are like nothing: False.
    """
    means = centroids(embeddings, labels)
    own = np.searchsorted(np.array(sorted(means), dtype=np.int64), labels)
    nearest = np.full(len(labels), -1)
    if means:
        centres = np.stack([means[label] for label in sorted(means)])  # (clusters, d)
        step = max(1, BLOCK // len(centres))
        for start in range(0, len(labels), step):
            nearest[start : start + step] = (embeddings[start : start + step] @ centres.T).argmax(axis=1)
    return np.asarray((nearest == own) & (labels >= 0))


def is_nearest_to_reference(
    embeddings: Embeddings, labels: Labels, matches: Mapping[int, NameMatch], references: Mapping[str, Embeddings]
) -> Truths:
    """Return whether each row is more like a reference of its cluster's name than like any of another name, `(n,)`.

    Rows of clusters without a name, and all rows where references are of one name only, have nothing against them.
    """
    names = sorted(name for name, rows in references.items() if len(rows))
    if len(names) < 2:  # noqa: PLR2004
        return np.ones(len(labels), dtype=bool)
    best = np.stack([(embeddings @ references[name].T).max(axis=1) for name in names], axis=1)  # (n, names)
    named = {label: names.index(match.name) for label, match in matches.items()}
    wanted = np.array([named.get(int(label), -1) for label in labels], dtype=np.int64)
    return np.asarray((wanted == -1) | (best.argmax(axis=1) == wanted))
