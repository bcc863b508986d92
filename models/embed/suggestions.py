"""What a person should look at after clustering: what may be one, what may be two, who recurs without a name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.whole_file import whole_file
from models.embed import Embeddings
from models.embed.bounds import NOISE, Labels
from models.embed.linkage import group_means

FILE = "suggestions.json"
LARGEST = 200
"""Clusters compared with one another; a person looks at the large ones."""
NEARLY = 0.05
"""How far below the limit a mean cosine may be for two clusters to be suggested as one."""
APART = 0.1
"""How much less alike two halves must be than their own rows are for a cluster to be suggested as two."""
ROUNDS = 10
"""Of 2-means; from the first principal axis it settles in a few."""


@dataclass(frozen=True)
class Suggestion:
    """Something to decide about clusters.

    kind: merge: two may be one. split: one may be two. name: recurs, and has no reference. refused: too impure.
    names: what the clusters are called on the sheet.
    value: mean cosine between the two, or between the halves; number of tracks; purity.
    limit: what `value` was held against.
    picture: file name of the cluster's most typical one of the embedded pictures, to serve as the missing reference.
    """

    kind: Literal["merge", "split", "name", "refused"]
    names: tuple[str, ...]
    value: float
    limit: float
    picture: str = ""

    def about(self, name: str) -> str:
        """Return what it says of the cluster called `name`, in a few words."""
        if self.kind == "merge":
            other = next(each for each in self.names if each != name)
            return f"perhaps the same as {other}: mean cosine {self.value:.2f}, united from {self.limit:.2f}"
        if self.kind == "split":
            return f"perhaps two: mean cosine of its halves {self.value:.2f}"
        if self.kind == "refused":
            return f"refused: purity {self.value:.2f} is below {self.limit:.2f}"
        return "no reference names it yet"


@dataclass(frozen=True)
class Clustered:
    """Rows, the cluster and the group (track, shot) of each, and what the clusters are called."""

    embeddings: Embeddings
    labels: Labels
    groups: Labels
    names: Mapping[int, str]

    def largest(self) -> list[int]:
        """Return the largest clusters that have a name, the largest first."""
        found, counts = np.unique(self.labels[self.labels != NOISE], return_counts=True)
        ranked = sorted(zip(-counts, found, strict=True))[:LARGEST]
        return [int(label) for _, label in ranked if int(label) in self.names]


def merges(clustered: Clustered, limit: float, named: frozenset[str]) -> Iterator[Suggestion]:
    """Yield the pairs whose mean cosine almost reaches `limit`, the most alike first; never two of `named`."""
    largest = clustered.largest()
    if len(largest) < 2:  # noqa: PLR2004
        return
    means = np.stack([_mean(clustered.embeddings[clustered.labels == label]) for label in largest])
    cosines = np.triu(means @ means.T, k=1)
    ones, others = np.nonzero(cosines >= max(limit - NEARLY, 1e-6))
    for cosine, one, other in sorted(zip(-cosines[ones, others], ones, others, strict=True)):
        pair = (clustered.names[largest[one]], clustered.names[largest[other]])
        if len(set(pair)) == len(pair) and not named.issuperset(pair):
            yield Suggestion("merge", pair, round(float(-cosine), 4), limit)


def splits(clustered: Clustered, limit: float, named: frozenset[str]) -> Iterator[Suggestion]:
    """Yield the clusters with two halves that would not have been united, and are each more alike than they are.

    A group is in one half whole and counts once: the same track from near and from far is no reason to split, and
    neither is a single track that looks different. What references united, those in `named`, is left alone.
    """
    for label in clustered.largest():
        if clustered.names[label] in named:
            continue
        rows = clustered.labels == label
        _, places = np.unique(clustered.groups[rows], return_inverse=True)
        means, _ = group_means(clustered.embeddings[rows], places)
        first = two_halves(means)
        if min(first.sum(), (~first).sum()) < 2:  # noqa: PLR2004
            continue
        between = float(means[first].mean(axis=0) @ means[~first].mean(axis=0))
        if between < min(limit, likeness(means[first]) - APART, likeness(means[~first]) - APART):
            yield Suggestion("split", (clustered.names[label],), round(between, 4), limit)


def two_halves(means: Embeddings) -> NDArray[np.bool_]:
    """Return which of `(g, d)` rows are in the first of two halves, `(g,)`: 2-means, begun at the principal axis."""
    centred = means - means.mean(axis=0)
    first = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] > 0
    for _ in range(ROUNDS):
        if first.all() or not first.any():
            break
        one, other = means[first].mean(axis=0), means[~first].mean(axis=0)
        first = means @ (one - other) > (one @ one - other @ other) / 2
    return np.asarray(first)


def likeness(means: Embeddings) -> float:
    """Return the mean dot product between two different of `(g, d)` rows, g at least 2."""
    total = means.sum(axis=0, dtype=np.float64)
    return float((total @ total - (means**2).sum(dtype=np.float64)) / (len(means) * (len(means) - 1)))


def unnamed(clustered: Clustered, named: frozenset[str], pictures: Sequence[str]) -> Iterator[Suggestion]:
    """Yield the clusters that no reference names and that are in two groups or more, with a typical picture."""
    for label in clustered.largest():
        rows = np.flatnonzero(clustered.labels == label)
        seen = len(np.unique(clustered.groups[rows]))
        if seen > 1 and clustered.names[label] not in named:
            vectors = clustered.embeddings[rows]
            typical = rows[int((vectors @ _mean(vectors)).argmax())]
            yield Suggestion("name", (clustered.names[label],), seen, 2, pictures[typical])


def write_suggestions(folder: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write `suggestions.json`, beside and renamed."""
    with whole_file(folder / FILE) as beside:
        beside.write_text(json.dumps([asdict(each) for each in suggestions], indent=1) + "\n", encoding="utf-8")


def read_suggestions(path: Path) -> list[Suggestion]:
    """Return what `write_suggestions` wrote; nothing where it wrote nothing."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Suggestion(**{**each, "names": tuple(each["names"])}) for each in found]


def _mean(vectors: Embeddings) -> Embeddings:
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), np.float32)
