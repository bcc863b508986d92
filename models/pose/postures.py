"""Recurring postures: clusters of normalised skeletons."""

import numpy as np
from numpy.typing import NDArray

from models.pose import Keypoints
from models.pose.skeleton import normalise


def cluster_skeletons(
    keypoints: Keypoints, min_cluster_size: int, min_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cluster (-1 is noise) and the membership strength of each of `(n, 17, 3)` skeletons.

    HDBSCAN (Campello et al. 2013) on joint positions in torso lengths, weighted by confidence, so that a joint that
    was guessed moves a skeleton little.
    """
    if len(keypoints) < max(2, min_cluster_size, min_samples + 1):
        return np.full(len(keypoints), -1, np.int64), np.zeros(len(keypoints))
    from hdbscan import HDBSCAN  # noqa: PLC0415

    normal = np.stack([normalise(each) for each in keypoints])
    vectors = (normal[..., :2] * normal[..., 2:]).reshape(len(normal), -1).astype(np.float64)
    found = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, core_dist_n_jobs=1).fit(vectors)
    return found.labels_.astype(np.int64), found.probabilities_.astype(np.float64)
