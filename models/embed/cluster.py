"""Who is the same as whom, and what they are called: clusters of embeddings, votes of tracks, names from references.

HDBSCAN (Campello et al., "Density-Based Clustering Based on Hierarchical Density Estimates", 2013) on at most 64
principal components finds dense fragments. In a film these are often one character in one *shot*, since neighbouring
frames are nearly the same picture. So fragments are then united by average linkage: two become one while the mean
similarity of their rows stays above a limit. Mixing two characters costs more than splitting one, which references
still heal (`merge_named`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings

NOISE = -1
Labels = NDArray[np.int64]


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


def cluster(embeddings: Embeddings, rules: ClusterRules | None = None) -> Clustering:
    """Return the clusters of `(n, d)` unit rows.

    A cluster has `min_cluster_size` rows, or all of them where there are fewer. Rows that HDBSCAN calls noise join
    the cluster they resemble, or stay noise. The same rows give the same labels.
    """
    rules = rules or ClusterRules()
    if len(embeddings) == 0:
        return Clustering(np.zeros(0, dtype=np.int64), np.zeros(0))
    fragments, probabilities = dense_fragments(embeddings, rules)
    labels = unite(embeddings, fragments, rules.merge_similarity)
    labels = by_size(labels, min(rules.min_cluster_size, len(labels)))
    means = centroids(embeddings, labels)
    for row in np.flatnonzero(fragments == NOISE):
        mean = means.get(int(labels[row]))
        probabilities[row] = 0.0 if mean is None else float(np.clip(embeddings[row] @ mean, 0.0, 1.0))
    probabilities[labels == NOISE] = 0.0
    return Clustering(labels, probabilities)


def dense_fragments(embeddings: Embeddings, rules: ClusterRules) -> tuple[Labels, NDArray[np.float64]]:
    """Return HDBSCAN's labels and membership probabilities; everything is noise where rows are too few for it."""
    rows = len(embeddings)
    if rows < max(2 * rules.min_cluster_size, rules.min_samples + 1):
        return np.full(rows, NOISE, dtype=np.int64), np.zeros(rows)
    from hdbscan import HDBSCAN  # noqa: PLC0415
    from sklearn.decomposition import PCA  # noqa: PLC0415

    components = min(rules.components, rows - 1, embeddings.shape[1])
    reduced = PCA(components, svd_solver="full").fit_transform(embeddings.astype(np.float64))
    found = HDBSCAN(min_cluster_size=rules.min_cluster_size, min_samples=rules.min_samples, core_dist_n_jobs=1).fit(
        reduced
    )
    return found.labels_.astype(np.int64), found.probabilities_.astype(np.float64)


def unite(embeddings: Embeddings, fragments: Labels, min_similarity: float) -> Labels:
    """Unite the most alike fragments while their mean similarity is at least `min_similarity`.

    Every noise row is a fragment of its own. Average linkage, from sums: mean(A, B) = sum(A) . sum(B) / (|A| |B|).
    """
    labels = fragments.copy()
    labels[labels == NOISE] = labels.max(initial=NOISE) + 1 + np.arange(int((labels == NOISE).sum()))
    names, labels = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(sums, labels, embeddings)
    sizes = np.bincount(labels).astype(np.float64)
    totals = sums @ sums.T
    owner = np.arange(len(names))
    means = totals / np.outer(sizes, sizes)
    np.fill_diagonal(means, -np.inf)
    alive = np.ones(len(names), dtype=bool)
    while alive.sum() > 1:
        one, other = sorted(int(index) for index in np.unravel_index(int(np.argmax(means)), means.shape))
        if means[one, other] < min_similarity:
            break
        totals[one] += totals[other]
        totals[:, one] += totals[:, other]
        sizes[one] += sizes[other]
        owner[owner == other] = one
        alive[other] = False
        means[other] = means[:, other] = -np.inf
        alike = np.where(alive, totals[one] / (sizes[one] * sizes), -np.inf)
        alike[one] = -np.inf
        means[one] = means[:, one] = alike
    return np.asarray(owner[labels], dtype=np.int64)


def by_size(labels: Labels, min_size: int) -> Labels:
    """Return clusters numbered 0, 1, ... by falling size (ties: first row first); those under `min_size` as noise."""
    found, first, counts = np.unique(labels, return_index=True, return_counts=True)
    kept = [index for index in range(len(found)) if counts[index] >= min_size and found[index] != NOISE]
    kept.sort(key=lambda index: (-counts[index], first[index]))
    renamed = np.full(len(labels), NOISE, dtype=np.int64)
    for number, index in enumerate(kept):
        renamed[labels == found[index]] = number
    return renamed


def centroids(embeddings: Embeddings, labels: Labels) -> dict[int, Embeddings]:
    """Return the unit mean `(d,)` of each cluster; noise has none."""
    means = {int(label): embeddings[labels == label].mean(axis=0) for label in np.unique(labels) if label != NOISE}
    return {label: np.asarray(mean / np.linalg.norm(mean), dtype=np.float32) for label, mean in means.items()}


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
