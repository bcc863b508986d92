"""Who is the same as whom, and what they are called: clusters of embeddings, votes of tracks, names from references.

HDBSCAN (Campello et al., "Density-Based Clustering Based on Hierarchical Density Estimates", 2013) on at most 64
principal components finds dense fragments. In a film these are often one character in one *shot*, since neighbouring
frames are nearly the same picture. So fragments are then united by average linkage (`linkage.unite`): two become one
while the mean similarity of their rows stays above a limit. Mixing two characters costs more than splitting one, which
references still heal (`merge_named`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings
from models.embed.bounds import NOISE, Bounds, Labels, without_strangers
from models.embed.linkage import group_means, unite

PART_ROWS = 4096
"""Rows that HDBSCAN sees at a time."""


@dataclass(frozen=True)
class ClusterRules:
    """How dense a fragment must be, and how alike fragments must be to become one cluster."""

    min_cluster_size: int = 8
    min_samples: int = 2
    components: int = 64
    merge_similarity: float = 0.75
    """Mean cosine between the rows of two fragments of one character or place ("efficientnet-lite0+colour")."""


@dataclass(frozen=True)
class Clustering:
    """The cluster of each row, `(n,)`: 0 is the largest, -1 is noise; and how surely it belongs there, 0..1."""

    labels: Labels
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class NameMatch:
    """The name of a cluster, its similarity to the best reference, and its lead over the second-best name."""

    name: str
    similarity: float
    margin: float


def cluster(embeddings: Embeddings, rules: ClusterRules | None = None, bounds: Bounds | None = None) -> Clustering:
    """Return the clusters of `(n, d)` unit rows.

    A cluster has `min_cluster_size` rows, or all of them where there are fewer. Rows that HDBSCAN calls noise join
    the cluster they resemble, or stay noise. What `bounds` keep apart is never united. The same rows give the same
    labels.
    """
    rules, bounds = rules or ClusterRules(), bounds or Bounds.none(len(embeddings))
    if len(embeddings) == 0:
        return Clustering(np.zeros(0, dtype=np.int64), np.zeros(0))
    fragments, probabilities = dense_fragments(embeddings, rules)
    fragments = without_strangers(without_loose(embeddings, fragments, rules.merge_similarity), bounds)
    labels = unite(embeddings, fragments, rules.merge_similarity, bounds)
    labels = by_size(labels, min(rules.min_cluster_size, len(labels)))
    means = centroids(embeddings, labels)
    for row in np.flatnonzero(fragments == NOISE):
        mean = means.get(int(labels[row]))
        probabilities[row] = 0.0 if mean is None else float(np.clip(embeddings[row] @ mean, 0.0, 1.0))
    probabilities[labels == NOISE] = 0.0
    return Clustering(labels, probabilities)


def dense_fragments(embeddings: Embeddings, rules: ClusterRules) -> tuple[Labels, NDArray[np.float64]]:
    """Return HDBSCAN's labels and membership probabilities; everything is noise where rows are too few for it.

    More than `PART_ROWS` rows are looked at in equal runs of neighbouring rows, each by itself: HDBSCAN's time grows
    with the square of the rows, and what is dense in a film, the same character in the same shot, lies together.
    """
    labels = np.full(len(embeddings), NOISE, dtype=np.int64)
    probabilities = np.zeros(len(embeddings))
    if len(embeddings) < max(2 * rules.min_cluster_size, rules.min_samples + 1):
        return labels, probabilities
    from hdbscan import HDBSCAN  # noqa: PLC0415

    for part in np.array_split(np.arange(len(embeddings)), -(-len(embeddings) // PART_ROWS)):
        found = HDBSCAN(min_cluster_size=rules.min_cluster_size, min_samples=rules.min_samples, core_dist_n_jobs=1)
        found.fit(principal_components(embeddings[part], rules.components))
        labels[part] = np.where(found.labels_ == NOISE, NOISE, found.labels_ + labels.max() + 1)
        probabilities[part] = found.probabilities_
    return labels, probabilities


def without_loose(embeddings: Embeddings, fragments: Labels, min_similarity: float) -> Labels:
    """Return the fragments, with those as noise whose rows are less alike on average than united fragments are.

    HDBSCAN follows chains: strangers who are each other's nearest come out as one fragment.
    """
    kept = fragments.copy()
    rows = np.flatnonzero(fragments != NOISE)
    _, places = np.unique(fragments[rows], return_inverse=True)
    means, sizes = group_means(embeddings[rows], places)
    alike = (sizes * (means**2).sum(axis=1) - 1.0) / np.maximum(sizes - 1.0, 1.0)  # mean cosine of two different rows
    kept[rows[alike[places] < min_similarity]] = NOISE
    return kept


def principal_components(embeddings: Embeddings, wanted: int) -> NDArray[np.float64]:
    """Return at most `wanted` principal components of `(n, d)` rows, `(n, components)`."""
    from sklearn.decomposition import PCA  # noqa: PLC0415

    rows, width = embeddings.shape
    solver = "full" if rows < width else "covariance_eigh"
    reduced = PCA(min(wanted, rows - 1, width), svd_solver=solver).fit_transform(embeddings.astype(np.float64))
    return np.asarray(reduced, dtype=np.float64)


def by_size(labels: Labels, min_size: int) -> Labels:
    """Return clusters numbered 0, 1, ... by falling size (ties: first row first); those under `min_size` as noise."""
    found, first, places, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero((counts >= min_size) & (found != NOISE))
    ranked = kept[np.lexsort((first[kept], -counts[kept]))]
    renamed = np.full(len(found), NOISE, dtype=np.int64)
    renamed[ranked] = np.arange(len(ranked))
    return renamed[places]


def centroids(embeddings: Embeddings, labels: Labels) -> dict[int, Embeddings]:
    """Return the unit mean `(d,)` of each cluster; noise has none."""
    clustered = labels != NOISE
    found, places = np.unique(labels[clustered], return_inverse=True)
    means, _ = group_means(embeddings[clustered], places)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {int(label): mean for label, mean in zip(found, means, strict=True)}


def vote_by_track(clustering: Clustering, tracks: Sequence[str], min_share: float = 0.5) -> dict[str, int]:
    """Return one label for each track: the cluster with the most probability among its rows.

    A cluster that fewer than `min_share` of the track's rows belong to does not win: the track is noise.

    Raises:
        ValueError: `tracks` has not one name for each row.
    """
    votes: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    rows: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for track, label, weight in zip(tracks, clustering.labels, clustering.probabilities, strict=True):
        votes[track][int(label)] += float(weight)
        rows[track][int(label)] += 1
    winners = {track: max(weights, key=lambda label: (weights[label], -label)) for track, weights in votes.items()}
    return {
        track: winner if rows[track][winner] >= min_share * sum(rows[track].values()) else NOISE
        for track, winner in winners.items()
    }


def name_clusters(
    means: Mapping[int, Embeddings],
    references: Mapping[str, Embeddings],
    min_similarity: float = 0.75,
    min_margin: float = 0.03,
) -> dict[int, NameMatch]:
    """Return a name for each cluster that is like one name's references and not like another's.

    Several clusters may get one name; a cluster without a clear one is left out.

    Args:
        means: `(d,)` unit mean of each cluster (`centroids`).
        references: `(m, d)` unit rows for each name, embedded as the clusters' pictures were.
        min_similarity: cosine to the name's best reference.
        min_margin: by how much it must lead over the second-best name's.
    """
    matches = {}
    for label, mean in sorted(means.items()):
        ranked = sorted(
            ((float((rows @ mean).max()), name) for name, rows in references.items() if len(rows)), reverse=True
        )
        if not ranked:
            continue
        similarity, name = ranked[0]
        margin = similarity - ranked[1][0] if len(ranked) > 1 else similarity
        if similarity >= min_similarity and margin >= min_margin:
            matches[label] = NameMatch(name, similarity, margin)
    return matches


def merge_named(labels: Labels, matches: Mapping[int, NameMatch]) -> Labels:
    """Return `labels` with all clusters of one name under the lowest of their numbers."""
    lowest: dict[str, int] = {}
    merged = labels.copy()
    for label in sorted(matches):
        merged[labels == label] = lowest.setdefault(matches[label].name, label)
    return merged
