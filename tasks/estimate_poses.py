"""Find the skeleton of every layer, from which side it is seen, and what it does."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Pose, Rejected
from data_contracts.stages import EstimatePosesConfig
from models.framing import as_floats
from models.pictures import read_grey, read_rgb
from models.pose import POSE_ESTIMATORS, Keypoints, isolate
from models.pose.actions import TimedPose, label_actions
from models.pose.skeleton import is_full_body, shot_size, view_of
from models.sheets import poses_sheet
from tasks.stage import stage

estimator = lru_cache(maxsize=1)(POSE_ESTIMATORS.load)


@stage(Pose, version=1, by="shot", sheet=poses_sheet)
def estimate_poses(
    out: Path,  # noqa: ARG001
    layers: Dataset[Layer],
    frames: Dataset[Frame],
    config: EstimatePosesConfig,
) -> Iterator[Pose | Rejected]:
    """Yield the pose of each layer; actions are read off whole tracks."""
    for track in layers.groups("track").values():
        keypoints = [keypoints_of(layer, layers, frames, config.backend) for layer in track]
        timed = [
            TimedPose(layer.time_s, points, as_floats(layer.box))
            for layer, points in zip(track, keypoints, strict=True)
        ]
        for layer, points, action in zip(track, keypoints, label_actions(timed), strict=True):
            frame = frames.by_id[layer.frame_id]
            box = as_floats(layer.box)
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


def keypoints_of(layer: Layer, layers: Dataset[Layer], frames: Dataset[Frame], backend: str) -> Keypoints:
    """Return the `(17, 3)` keypoints of one layer, seen alone."""
    picture = read_rgb(frames.path(frames.by_id[layer.frame_id].image))
    alone = isolate(picture, read_grey(layers.path(layer.mask)))
    return estimator(backend).estimate(alone, as_floats(layer.box))
