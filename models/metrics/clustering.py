"""How well clusters agree with true classes.

Noise, the cluster -1, counts as a cluster of its own for each item: what was not gathered is not one group.
"""

from collections import Counter
from collections.abc import Sequence

from sklearn.metrics import adjusted_rand_score

from models.metrics.figure import share

NOISE = -1


def purity(classes: Sequence[str], clusters: Sequence[int]) -> float | None:
    """Return the share of items that are of the most common class of their cluster.

    (1 / N) sum over clusters k of max over classes c of |k and c| (Manning, Raghavan and Schütze 2008, "Introduction
    to Information Retrieval", 16.3).
    """
    return _majority_share(groups=noise_apart(clusters), members=classes)


def completeness(classes: Sequence[str], clusters: Sequence[int]) -> float | None:
    """Return the share of items that lie in the largest cluster of their class.

    (1 / N) sum over classes c of max over clusters k of |k and c|: the inverse purity of Amigó et al. 2009, "A
    comparison of extrinsic clustering evaluation metrics".
    """
    return _majority_share(groups=classes, members=noise_apart(clusters))


def adjusted_rand(classes: Sequence[str], clusters: Sequence[int]) -> float | None:
    """Return the Rand index corrected for chance (Hubert and Arabie 1985): 1 for agreement, about 0 for chance."""
    if not classes:
        return None
    return float(adjusted_rand_score(list(classes), noise_apart(clusters)))


def noise_apart(clusters: Sequence[int]) -> list[int]:
    """Return the clusters with each item of noise in a cluster of its own."""
    return [-1 - index if cluster == NOISE else cluster for index, cluster in enumerate(clusters)]


def _majority_share(groups: Sequence[str | int], members: Sequence[str | int]) -> float | None:
    """Return the share of items whose member is the most common one of their group."""
    by_group: dict[str | int, Counter[str | int]] = {}
    for index, group in enumerate(groups):
        by_group.setdefault(group, Counter())[members[index]] += 1
    return share(sum(max(counts.values()) for counts in by_group.values()), len(groups))
