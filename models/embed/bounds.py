"""Who cannot be the same: tracks that are seen side by side, and tracks that different references claim."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISE = NOBODY = -1
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Bounds:
    """What must not be united, however alike it looks.

    Cannot-link constraints: Wagstaff et al., "Constrained K-means Clustering with Background Knowledge", ICML 2001.

    groups: `(n,)` the group of each row, 0..g-1: its track or shot.
    apart: `(m, 2)` pairs of groups that are not the same.
    camps: `(g,)` groups of two different camps are not the same either; -1 belongs to none.
    """

    groups: Labels
    apart: NDArray[np.int64]
    camps: Labels

    @classmethod
    def none(cls, rows: int) -> "Bounds":
        """Return what leaves `rows` rows free to be united."""
        return cls(np.zeros(rows, dtype=np.int64), np.zeros((0, 2), dtype=np.int64), np.array([NOBODY]))


def bounds_of(groups: Sequence[str], apart: Iterable[tuple[str, str]], claims: Mapping[str, str]) -> Bounds:
    """Return the bounds of rows of these groups.

    Args:
        groups: the name of each row's group.
        apart: pairs of groups that are not the same; pairs of groups without a row do not matter.
        claims: the name that references give to a group.
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    place = {str(name): number for number, name in enumerate(names)}
    pairs = sorted({(place[one], place[other]) for one, other in apart if one in place and other in place})
    claimed = {name: number for number, name in enumerate(sorted(set(claims.values())))}
    camps = np.array([claimed.get(claims.get(str(name), ""), NOBODY) for name in names], dtype=np.int64)
    return Bounds(numbers.astype(np.int64), np.array(pairs, dtype=np.int64).reshape(-1, 2), camps)


def strangers(fragments: Labels, bounds: Bounds) -> NDArray[np.int64]:
    """Return the pairs `(p, 2)` of fragments, one with itself too, that hold groups which are apart.

    Args:
        fragments: `(n,)` the fragment of each row, 0..f-1.
        bounds: which groups are apart; camps are not looked at.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415

    if len(bounds.apart) == 0 or len(fragments) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    groups, ones = len(bounds.camps), np.ones(len(fragments), dtype=np.int32)
    holds = csr_array((ones, (fragments, bounds.groups)), shape=(int(fragments.max()) + 1, groups))
    both = np.concatenate([bounds.apart, bounds.apart[:, ::-1]])
    apart = csr_array((np.ones(len(both), dtype=np.int32), (both[:, 0], both[:, 1])), shape=(groups, groups))
    return np.stack((holds @ apart @ holds.T).nonzero(), axis=1).astype(np.int64)


def without_strangers(fragments: Labels, bounds: Bounds) -> Labels:
    """Return the fragments, those that hold groups which cannot be the same taken apart by group; noise stays noise."""
    rows = np.flatnonzero(fragments != NOISE)
    _, numbers = np.unique(fragments[rows], return_inverse=True)
    own = Bounds(bounds.groups[rows], bounds.apart, bounds.camps)
    pairs = strangers(numbers, own)
    mixed = np.zeros(numbers.max(initial=-1) + 1, dtype=bool)
    mixed[pairs[pairs[:, 0] == pairs[:, 1], 0]] = True
    lowest, highest = camps_of(numbers, own)
    mixed |= lowest != highest
    keys = np.stack([numbers, np.where(mixed[numbers], own.groups, NOBODY)], axis=1)
    _, parts = np.unique(keys, axis=0, return_inverse=True)
    apart = fragments.copy()
    apart[rows] = parts.ravel()
    return apart


def camps_of(fragments: Labels, bounds: Bounds) -> tuple[Labels, Labels]:
    """Return the lowest and the highest camp `(f,)` of each fragment 0..f-1; -1 for one that holds none."""
    camps = bounds.camps[bounds.groups]
    held = camps != NOBODY
    highest = np.full(int(fragments.max(initial=-1)) + 1, NOBODY, dtype=np.int64)
    np.maximum.at(highest, fragments[held], camps[held])
    lowest = highest.copy()
    np.minimum.at(lowest, fragments[held], camps[held])
    return lowest, highest
