"""Find the skeleton of every layer, from which side it is seen, and what it does."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Pose, Rejected
from data_contracts.stages import EstimatePosesConfig
from models.framing import as_floats
from models.pictures import read_grey, read_rgb
from models.pose import POSE_ESTIMATORS, isolate
from models.pose.actions import TimedPose, label_actions, middle_row
from models.pose.skeleton import is_full_body, shot_size, view_of
from models.sheets import poses_sheet
from tasks.stage import stage

estimator = lru_cache(maxsize=1)(POSE_ESTIMATORS.load)


@stage(Pose, version=3, by="shot", sheet=poses_sheet)
def estimate_poses(
    out: Path,  # noqa: ARG001
    layers: Dataset[Layer],
    frames: Dataset[Frame],
    config: EstimatePosesConfig,
) -> Iterator[Pose | Rejected]:
    """Yield the pose of each layer; actions are read off whole tracks."""
    for track in layers.groups("track").values():
        poses = [timed_pose(layer, layers, frames, config.backend) for layer in track]
        for layer, pose, action in zip(track, poses, label_actions(poses), strict=True):
            frame, points, box = frames.by_id[layer.frame_id], pose.keypoints, pose.box
            yield Pose(
                id=f"{layer.id}:pose",
                **layer.moment(),
                layer_id=layer.id,
                track=layer.track,
                keypoints=tuple((round(float(x), 2), round(float(y), 2), round(float(c), 4)) for x, y, c in points),
                view=view_of(points),
                size=shot_size(points, box, (frame.height, frame.width)),
                full_body=is_full_body(points, box),
                action=action,
            )


def timed_pose(layer: Layer, layers: Dataset[Layer], frames: Dataset[Frame], backend: str) -> TimedPose:
    """Return the pose of one layer, seen alone."""
    picture, alpha = read_rgb(frames.path(frames.by_id[layer.frame_id].image)), read_grey(layers.path(layer.mask))
    box = as_floats(layer.box)
    keypoints = estimator(backend).estimate(isolate(picture, alpha), box)
    return TimedPose(layer.time_s, keypoints, box, middle_row(alpha))
