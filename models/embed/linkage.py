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
from models.embed.bounds import NOBODY, NOISE, Bounds, Labels, camps_of, strangers

BLOCK = 2**24
"""Similarities held at a time: 64 MB."""
COLUMNS = 128
"""Columns summed at a time, in double precision: a second copy of all rows would double the memory."""


@dataclass
class Groups:
    """Groups that may still be united; a row of each array is a group.

    mean: `(g, d)` float32, the mean of its unit rows, not scaled to length one.
    size: how many rows it has.
    name: its number among the fragments that linkage began with.
    nearest, similarity: the row here of the group most like it, and their mean cosine; -1 where it must be looked for.
    camp: -1, or a number that groups united with it must not differ in.
    """

    mean: Embeddings
    size: NDArray[np.float32]
    name: Labels
    nearest: Labels
    similarity: NDArray[np.float32]
    camp: Labels

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget all other groups; nearest groups are renumbered, and unknown where they were forgotten."""
        place = np.where(rows, np.cumsum(rows) - 1, -1)
        self.nearest = np.where(self.nearest >= 0, place[self.nearest], -1)[rows]
        self.mean, self.size = self.mean[rows], self.size[rows]
        self.name, self.similarity, self.camp = self.name[rows], self.similarity[rows], self.camp[rows]


def unite(embeddings: Embeddings, fragments: Labels, min_similarity: float, bounds: Bounds | None = None) -> Labels:
    """Unite the most alike fragments while the mean cosine between their rows is at least `min_similarity`.

    Every noise row is a fragment of its own. Memory grows with the number of fragments, time with its square.
    Groups that are kept apart are as unlike as can be; united, they keep all that either was kept apart from, so the
    reducibility on which the rounds rest holds.

    Args:
        embeddings: `(n, d)` unit rows.
        fragments: `(n,)` the fragment of each row, -1 for noise.
        min_similarity: mean cosine, -1..1.
        bounds: what must not be united.
    """
    bounds = bounds or Bounds.none(len(fragments))
    numbered = fragments.copy()
    numbered[fragments == NOISE] = fragments.max(initial=NOISE) + 1 + np.arange(int((fragments == NOISE).sum()))
    names, numbered = np.unique(numbered, return_inverse=True)
    means, sizes = group_means(embeddings, numbered)
    count = len(names)
    (_, camps), apart = camps_of(numbered, bounds), strangers(numbered, bounds)
    groups = Groups(means, sizes, np.arange(count), np.full(count, -1), np.zeros(count, np.float32), camps)
    owner = np.arange(count)
    while len(groups.name) > 1:
        find_nearest(groups, rows_of(groups, roots(owner)[apart]))
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


def rows_of(groups: Groups, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows here of pairs `(p, 2)` of fragments, without those of which one was set aside."""
    place = np.full(int(max(groups.name.max(initial=0), pairs.max(initial=0))) + 1, -1)
    place[groups.name] = np.arange(len(groups.name))
    rows = place[pairs]
    return np.asarray(rows[(rows >= 0).all(axis=1)], dtype=np.int64)


def find_nearest(groups: Groups, apart: NDArray[np.int64]) -> None:
    """Find the nearest group of each group whose nearest is not known; of equals, the first.

    Pairs of rows `apart` `(p, 2)`, in both orders, and groups of different camps are passed over.
    """
    asked = np.flatnonzero(groups.nearest < 0)
    step = max(1, BLOCK // len(groups.name))
    for start in range(0, len(asked), step):
        rows = asked[start : start + step]
        cosines = groups.mean[rows] @ groups.mean.T  # (rows, g)
        cosines[np.arange(len(rows)), rows] = -np.inf
        cosines[
            (groups.camp[rows, None] != groups.camp) & (groups.camp[rows, None] != NOBODY) & (groups.camp != NOBODY)
        ] = -np.inf
        place = np.full(len(groups.name), -1)
        place[rows] = np.arange(len(rows))
        here = apart[place[apart[:, 0]] >= 0]
        cosines[place[here[:, 0]], here[:, 1]] = -np.inf
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
    groups.camp[one] = np.maximum(groups.camp[one], groups.camp[other])
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
