"""Average linkage of very many groups of rows: exact, and without a matrix of all pairs.

The mean of all cosines between the rows of A and the rows of B is the dot product of their mean rows, so a group is
one vector and a size. Groups that are each other's nearest are united together, a round at a time, which for average
linkage gives what uniting the nearest pair of all again and again gives (Murtagh, "A Survey of Recent Advances in
Hierarchical Clustering Algorithms", The Computer Journal 26(4), 1983: reciprocal nearest neighbours, reducibility).
By the same property a group that resembles nobody enough never will, and is set aside after its first comparison.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.embed import Embeddings

NOISE = -1
BLOCK = 2**24
"""Similarities held at a time: 64 MB."""
COLUMNS = 128
"""Columns summed at a time, in double precision: a second copy of all rows would double the memory."""
Labels = NDArray[np.int64]


@dataclass
class Groups:
    """Groups that may still be united; a row of each array is a group.

    mean: `(g, d)` float32, the mean of its unit rows, not scaled to length one.
    size: how many rows it has.
    name: its number among the fragments that linkage began with.
    nearest, similarity: the row here of the group most like it, and their mean cosine; -1 where it must be looked for.
    """

    mean: Embeddings
    size: NDArray[np.float32]
    name: Labels
    nearest: Labels
    similarity: NDArray[np.float32]

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget all other groups; nearest groups are renumbered, and unknown where they were forgotten."""
        place = np.where(rows, np.cumsum(rows) - 1, -1)
        self.nearest = np.where(self.nearest >= 0, place[self.nearest], -1)[rows]
        self.mean, self.size = self.mean[rows], self.size[rows]
        self.name, self.similarity = self.name[rows], self.similarity[rows]


def unite(embeddings: Embeddings, fragments: Labels, min_similarity: float) -> Labels:
    """Unite the most alike fragments while the mean cosine between their rows is at least `min_similarity`.

    Every noise row is a fragment of its own. Memory grows with the number of fragments, time with its square.

    Args:
        embeddings: `(n, d)` unit rows.
        fragments: `(n,)` the fragment of each row, -1 for noise.
        min_similarity: mean cosine, -1..1.
    """
    numbered = fragments.copy()
    numbered[fragments == NOISE] = fragments.max(initial=NOISE) + 1 + np.arange(int((fragments == NOISE).sum()))
    names, numbered = np.unique(numbered, return_inverse=True)
    means, sizes = group_means(embeddings, numbered)
    count = len(names)
    groups = Groups(means, sizes, np.arange(count), np.full(count, -1), np.zeros(count, np.float32))
    owner = np.arange(count)
    while len(groups.name) > 1:
        find_nearest(groups)
        groups.keep(groups.similarity >= min_similarity)
        if (groups.nearest < 0).any() or len(groups.name) == 0:
            continue  # by rounding, a.b can reach the limit where b.a does not: a looks for another
        one, other = pairs_to_unite(groups)
        owner[groups.name[other]] = groups.name[one]
        absorb(groups, one, other)
    return np.asarray(roots(owner)[numbered], dtype=np.int64)


def group_means(embeddings: Embeddings, labels: Labels) -> tuple[Embeddings, NDArray[np.float32]]:
    """Return the mean row `(g, d)` float32 and the size `(g,)` of each of the groups 0..g-1; none is empty."""
    from scipy.sparse import csr_array  # noqa: PLC0415

    sizes = np.bincount(labels)
    order = np.argsort(labels, kind="stable")
    shares = np.repeat(1.0 / sizes, sizes)
    weights = csr_array((shares, order, np.concatenate([[0], np.cumsum(sizes)])), shape=(len(sizes), len(labels)))
    means = np.empty((len(sizes), embeddings.shape[1]), np.float32)
    for column in range(0, embeddings.shape[1], COLUMNS):
        means[:, column : column + COLUMNS] = weights @ embeddings[:, column : column + COLUMNS].astype(np.float64)
    return means, sizes.astype(np.float32)


def find_nearest(groups: Groups) -> None:
    """Find the nearest group of each group whose nearest is not known; of equals, the first."""
    asked = np.flatnonzero(groups.nearest < 0)
    step = max(1, BLOCK // len(groups.name))
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        cosines = groups.mean[rows] @ groups.mean.T  # (rows, g)
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest = cosines.argmax(axis=1)
        groups.nearest[rows] = nearest
        groups.similarity[rows] = cosines[np.arange(len(rows)), nearest]


def pairs_to_unite(groups: Groups) -> tuple[Labels, Labels]:
    """Return the rows of all groups that are each other's nearest, as (lower, higher); at least one pair."""
    here = np.arange(len(groups.name))
    one = np.flatnonzero((groups.nearest[groups.nearest] == here) & (here < groups.nearest))
    if len(one) == 0:
        # Only rounding brings this about: a.b and b.a from different blocks differ in the last bit.
        best = int(groups.similarity.argmax())
        low, high = sorted((best, int(groups.nearest[best])))
        return np.array([low]), np.array([high])
    return one, groups.nearest[one]


def absorb(groups: Groups, one: Labels, other: Labels) -> None:
    """Put each `other` into its `one`; what was nearest to either has to look again."""
    sizes = groups.size[one] + groups.size[other]
    share = (groups.size[other] / sizes)[:, None]
    groups.mean[one] += share * (groups.mean[other] - groups.mean[one])
    groups.size[one] = sizes
    changed = np.zeros(len(groups.name), dtype=bool)
    changed[one] = changed[other] = True
    groups.nearest[changed[groups.nearest]] = -1
    left = np.ones(len(groups.name), dtype=bool)
    left[other] = False
    groups.keep(left)


def roots(owner: Labels) -> Labels:
    """Return the last owner of each, where `owner[n]` is n itself or another that may have an owner in turn."""
    while (owner != owner[owner]).any():
        owner = owner[owner]
    return owner
