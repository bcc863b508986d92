"""The backends that a project names, by the key that names them, and all that there are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_contracts.project import Project
from models.backends import Backends
from models.embed import EMBEDDERS
from models.face import EXPRESSION_LABELERS, FACE_DETECTORS
from models.inpaint import INPAINTERS
from models.metrics.judges import JUDGES
from models.pose import POSE_ESTIMATORS
from models.segment import SEGMENTERS
from models.segment.detect import DETECTORS, load_detector
from tasks import (
    cluster_places,
    estimate_poses,
    identify_characters,
    inpaint_plates,
    label_expressions,
    pictures_job,
    segment_layers,
)


@dataclass(frozen=True)
class Place:
    """A key of a project file that names a backend.

    backends: which ones there are.
    load: the stage's cache, which loads one by its name and what it is `given`.
    given: what else the project says that the backend is made from.
    """

    backends: Backends[Any]
    load: Callable[..., object]
    given: Callable[[Project], tuple[object, ...]] = lambda _: ()


PLACES: dict[str, Place] = {
    "segment_layers.backend": Place(
        SEGMENTERS,
        segment_layers.segmenter,
        given=lambda project: (project.segment_layers.detector, project.segment_layers.words),
    ),
    "segment_layers.detector": Place(DETECTORS, load_detector, given=lambda project: (project.segment_layers.words,)),
    "inpaint_plates.backend": Place(INPAINTERS, inpaint_plates.inpainter),
    "cluster_places.embedder": Place(EMBEDDERS, cluster_places.embedder),
    "identify_characters.embedder": Place(EMBEDDERS, identify_characters.embedder),
    "estimate_poses.backend": Place(POSE_ESTIMATORS, estimate_poses.estimator),
    "label_expressions.detector": Place(FACE_DETECTORS, label_expressions.detector),
    "label_expressions.backend": Place(EXPRESSION_LABELERS, label_expressions.labeler),
    "evaluate_lora.judge": Place(JUDGES, pictures_job.judge),
    "compose_loras.judge": Place(JUDGES, pictures_job.judge),
}
"""Backends are loaded once a process, through the stages' own caches."""


def named_backends(project: Project) -> dict[str, list[str]]:
    """Return which backends the project names, by the key of PLACES."""
    named: dict[str, list[str | None]] = {
        "segment_layers.backend": [project.segment_layers.backend],
        "segment_layers.detector": [project.segment_layers.detector],
        "inpaint_plates.backend": [project.inpaint_plates.backend],
        "cluster_places.embedder": [project.cluster_places.embedder],
        "identify_characters.embedder": [project.identify_characters.embedder],
        "estimate_poses.backend": [project.estimate_poses.backend],
        "label_expressions.detector": [project.label_expressions.detector],
        "label_expressions.backend": [project.label_expressions.backend],
        "evaluate_lora.judge": [plan.evaluate.judge for plan in project.loras.values()],
        "compose_loras.judge": [project.compose_loras.judge],
    }
    return {key: sorted({name for name in names if name is not None}) for key, names in named.items()}


def load_backends(project: Project) -> dict[str, Callable[[], object]]:
    """Return what loads each backend that the project names, by its key and, where several are named, its name."""
    loaders: dict[str, Callable[[], object]] = {}
    for key, names in named_backends(project).items():
        place = PLACES[key]
        for name in names:
            loaders[key if len(names) == 1 else f"{key} {name}"] = partial(place.load, name, *place.given(project))
    return loaders
