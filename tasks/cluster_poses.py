"""Group the skeletons into recurring postures, for what no action word names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Pose, PoseGroup, Rejected
from data_contracts.stages import ClusterPosesConfig
from models.pose.postures import cluster_skeletons
from tasks.stage import stage


@stage(PoseGroup, version=1)
def cluster_poses(out: Path, poses: Dataset[Pose], config: ClusterPosesConfig) -> Iterator[PoseGroup | Rejected]:  # noqa: ARG001
    """Yield the posture of each whole body; refuse skeletons that are cut off."""
    whole = [pose for pose in poses if pose.full_body]
    for pose in poses:
        if not pose.full_body:
            yield Rejected(id=pose.id, reason="not_a_whole_body")
    points = np.array([pose.keypoints for pose in whole], np.float32).reshape(-1, 17, 3)
    labels, probabilities = cluster_skeletons(points, config.min_cluster_size, config.min_samples)
    for pose, label, probability in zip(whole, labels, probabilities, strict=True):
        yield PoseGroup(
            id=f"{pose.id}:group",
            **pose.moment(),
            pose_id=pose.id,
            layer_id=pose.layer_id,
            action=pose.action,
            cluster=int(label),
            probability=round(float(probability), 6),
        )
