"""The backends that a project names, by the key that names them."""

from collections.abc import Callable
from functools import partial

from data_contracts.project import Project
from tasks import (
    cluster_places,
    estimate_poses,
    identify_characters,
    inpaint_plates,
    label_expressions,
    pictures_job,
    segment_layers,
)


def load_backends(project: Project) -> dict[str, Callable[[], object]]:
    """Return what loads each backend, through the stages' own caches: a backend is loaded once a process."""
    judges = {"compose_loras.judge": project.compose_loras.judge}
    judges |= {f"loras.{name}.evaluate.judge": plan.evaluate.judge for name, plan in project.loras.items()}
    return {
        "segment_layers.backend": partial(segment_layers.segmenter, project.segment_layers.backend),
        "inpaint_plates.backend": partial(inpaint_plates.inpainter, project.inpaint_plates.backend),
        "cluster_places.embedder": partial(cluster_places.embedder, project.cluster_places.embedder),
        "identify_characters.embedder": partial(identify_characters.embedder, project.identify_characters.embedder),
        "estimate_poses.backend": partial(estimate_poses.estimator, project.estimate_poses.backend),
        "label_expressions.detector": partial(label_expressions.detector, project.label_expressions.detector),
        "label_expressions.backend": partial(label_expressions.labeler, project.label_expressions.backend),
        **{key: partial(pictures_job.judge, name) for key, name in judges.items() if name is not None},
    }
