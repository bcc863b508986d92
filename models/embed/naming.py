"""From embeddings to names: clusters, one vote a track or shot, names from references, numbers for the rest."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings
from models.embed.bounds import NOISE, Bounds, Labels, bounds_of
from models.embed.cluster import (
    Clustering,
    ClusterRules,
    NameMatch,
    centroids,
    cluster,
    merge_named,
    name_clusters,
    vote_by_track,
)
from models.embed.purity import is_nearest_to_own, is_nearest_to_reference, purities
from models.embed.suggestions import Clustered, Suggestion, merges, splits, unnamed


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

    @property
    def min_purity(self) -> float:
        """Purity below which a cluster gets no name."""
        ...


@dataclass(frozen=True)
class Named:
    """What a track or shot was found to be: cluster (-1 is noise), name, cosine to the reference, share of votes."""

    cluster: int
    name: str
    similarity: float
    share: float


@dataclass(frozen=True)
class Naming:
    """What every group was found to be, the purity of each cluster that was refused a name, and what to look at."""

    groups: dict[str, Named]
    refused: dict[int, float]
    suggestions: list[Suggestion]


@dataclass(frozen=True)
class Pictures:
    """The pictures that were embedded, one a row.

    vectors: `(n, d)` unit rows.
    groups: the track or shot of each.
    files: the file name of each.
    apart: pairs of groups that were seen side by side, and so are not the same.
    """

    vectors: Embeddings
    groups: Sequence[str]
    files: Sequence[str]
    apart: frozenset[tuple[str, str]] = frozenset()


def group_and_name(
    pictures: Pictures, references: Mapping[str, Embeddings], config: NamingConfig, *, called: str
) -> Naming:
    """Return what each group (a track, a shot) is: its rows vote, and clusters without a reference are numbered.

    A cluster whose purity is below the limit keeps its number and gets no name, so that nothing is learnt from it.

    Args:
        pictures: in the order of the film.
        references: `(m, d)` unit rows for each name.
        config: thresholds.
        called: word before the number of an unnamed cluster, such as "place".
    """
    vectors = pictures.vectors
    rules = ClusterRules(config.min_cluster_size, config.min_samples, merge_similarity=config.merge_similarity)
    found = cluster(vectors, rules, keep_apart(pictures, references, config.min_similarity))
    matches = name_clusters(centroids(vectors, found.labels), references, config.min_similarity)
    merged = Clustering(merge_named(found.labels, matches), found.probabilities)
    winners = vote_by_track(merged, pictures.groups)
    votes = np.array([winners[group] for group in pictures.groups], dtype=np.int64)
    supports = is_nearest_to_own(vectors, merged.labels)
    supports &= is_nearest_to_reference(vectors, merged.labels, matches, references)
    purity = purities(merged.labels, votes, supports)
    refused = {label: value for label, value in purity.items() if value < config.min_purity}
    names = cluster_names(merged.labels, matches, set(refused), called)
    shares = share_of_groups(pictures.groups, merged.labels == votes)
    similarity = {label: match.similarity for label, match in matches.items() if label not in refused}
    groups = {
        group: Named(label, names.get(label, ""), similarity.get(label, 0.0), shares[group])
        for group, label in winners.items()
    }
    to_decide = [
        Suggestion("refused", (f"cluster {label}",), round(value, 4), config.min_purity)
        for label, value in sorted(refused.items())
    ]
    by_reference = frozenset(names[label] for label in similarity if label in names)
    to_decide += suggestions_for(pictures, merged.labels, names, by_reference, config.merge_similarity)
    return Naming(groups, refused, to_decide)


def keep_apart(pictures: Pictures, references: Mapping[str, Embeddings], min_similarity: float) -> Bounds:
    """Return what must not be united: groups seen side by side, and groups that references of two names claim."""
    names, numbers = np.unique(np.asarray(pictures.groups), return_inverse=True)
    claims = name_clusters(centroids(pictures.vectors, numbers), references, min_similarity)
    claimed = {str(names[number]): match.name for number, match in claims.items()}
    return bounds_of(pictures.groups, pictures.apart, claimed)


def cluster_names(
    labels: Labels, matches: Mapping[int, NameMatch], refused: AbstractSet[int], called: str
) -> dict[int, str]:
    """Return the name of each cluster that is not refused: its reference's, else `called` and a number."""
    kept = sorted({int(label) for label in np.unique(labels)} - {NOISE} - refused)
    numbers = (f"{called}-{number}" for number in count(1))
    return {label: matches[label].name if label in matches else next(numbers) for label in kept}


def share_of_groups(groups: Sequence[str], agrees: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of each group's rows that agree with its vote."""
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    shares = np.bincount(places, weights=agrees, minlength=len(names)) / np.bincount(places)
    return {str(name): float(share) for name, share in zip(names, shares, strict=True)}


def suggestions_for(
    pictures: Pictures, labels: Labels, names: Mapping[int, str], by_reference: frozenset[str], limit: float
) -> list[Suggestion]:
    """Return what a person should look at: which clusters may be one, which may be two, which recur unnamed."""
    _, groups = np.unique(np.asarray(pictures.groups), return_inverse=True)
    clustered = Clustered(pictures.vectors, labels, groups, names)
    return [
        *merges(clustered, limit, by_reference),
        *splits(clustered, limit, by_reference),
        *unnamed(clustered, by_reference, pictures.files),
    ]
