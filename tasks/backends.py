"""The backends that a project names, by the key that names them, and all that there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_contracts.project import LoraPlan, Project
from models.backends import Backends
from models.caption import CAPTIONERS
from models.diffusion.precision import PRECISIONS
from models.embed import EMBEDDERS
from models.face import EXPRESSION_LABELERS, FACE_DETECTORS
from models.inpaint import INPAINTERS
from models.metrics.judges import JUDGES
from models.metrics.text_scorers import TEXT_SCORERS
from models.pose import POSE_ESTIMATORS
from models.segment import SEGMENTERS
from models.segment.detect import DETECTORS, load_detector
from models.trainers import TRAINERS
from models.trainers.board import EVENT_FILES
from models.trainers.optimizers import OPTIMIZERS
from models.weights import MissingWeights
from tasks import (
    assemble_dataset,
    caption_images,
    cluster_places,
    compose_characters,
    estimate_poses,
    evaluate_suite,
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
    names: what a project has there; None where it names no backend, several where it has a key a LoRA.
    load: loads one by its name, through the stage's own cache, with what else the project says of it.
    """

    backends: Backends[Any]
    names: Callable[[Project], Iterable[str | None]]
    load: Callable[[str, Project], object]

    def named(self, project: Project) -> list[str]:
        """Return the names of the backends that the project names here, each once."""
        return sorted({name for name in self.names(project) if name is not None})


def by_name(cache: Callable[[str], object]) -> Callable[[str, Project], object]:
    """Return the `load` of a backend that is made from its name alone."""
    return lambda name, _: cache(name)


def load_captioners(name: str, project: Project) -> list[object]:
    """Load a captioner as each LoRA names it: with its own server, or the one that all share."""
    plans = [plan.caption for plan in project.loras.values() if plan.caption.backend == name]
    return [caption_images.captioner_of(plan) for plan in plans]


def draws(plan: LoraPlan) -> bool:
    """Return whether the LoRA's validations draw pictures, and so measure them."""
    settings = plan.train.settings
    return bool(plan.train.trainer == "native" and settings.validate_every and settings.validate_drawn)


PLACES: dict[str, Place] = {
    "segment_layers.backend": Place(
        SEGMENTERS,
        lambda project: [project.segment_layers.backend],
        lambda _, project: segment_layers.segmenter_of(project.segment_layers),
    ),
    "segment_layers.detector": Place(
        DETECTORS,
        lambda project: [project.segment_layers.detector],
        lambda name, project: load_detector(name, project.segment_layers.words),
    ),
    "inpaint_plates.backend": Place(
        INPAINTERS, lambda project: [project.inpaint_plates.backend], by_name(inpaint_plates.inpainter)
    ),
    "cluster_places.embedder": Place(
        EMBEDDERS, lambda project: [project.cluster_places.embedder], by_name(cluster_places.embedder)
    ),
    "identify_characters.embedder": Place(
        EMBEDDERS, lambda project: [project.identify_characters.embedder], by_name(identify_characters.embedder)
    ),
    "estimate_poses.backend": Place(
        POSE_ESTIMATORS, lambda project: [project.estimate_poses.backend], by_name(estimate_poses.estimator)
    ),
    "label_expressions.detector": Place(
        FACE_DETECTORS, lambda project: [project.label_expressions.detector], by_name(label_expressions.detector)
    ),
    "label_expressions.backend": Place(
        EXPRESSION_LABELERS, lambda project: [project.label_expressions.backend], by_name(label_expressions.labeler)
    ),
    "loras.*.caption.backend": Place(
        CAPTIONERS, lambda project: [plan.caption.backend for plan in project.loras.values()], load_captioners
    ),
    "loras.*.dataset.embedder": Place(
        EMBEDDERS,
        lambda project: [plan.dataset.embedder for plan in project.loras.values()],
        by_name(assemble_dataset.embedder),
    ),
    "loras.*.train.trainer": Place(
        TRAINERS, lambda project: [plan.train.trainer for plan in project.loras.values()], by_name(TRAINERS.load)
    ),
    "loras.*.train.optimizer": Place(
        OPTIMIZERS,
        lambda project: [plan.train.settings.optimizer for plan in project.loras.values()],
        by_name(OPTIMIZERS.load),
    ),
    "loras.*.train.precision": Place(
        PRECISIONS,
        lambda project: [plan.train.settings.precision for plan in project.loras.values()],
        by_name(PRECISIONS.load),
    ),
    "loras.*.train.tensorboard": Place(
        EVENT_FILES,
        lambda project: ["tensorboard" for plan in project.loras.values() if plan.train.settings.tensorboard],
        lambda name, _: EVENT_FILES.require(name),
    ),
    "loras.*.train.drawn_embedder": Place(
        EMBEDDERS,
        lambda project: [plan.train.settings.drawn_embedder for plan in project.loras.values() if draws(plan)],
        by_name(evaluate_suite.embedder),
    ),
    "loras.*.train.drawn_text_scorer": Place(
        TEXT_SCORERS,
        lambda project: [plan.train.settings.drawn_text_scorer for plan in project.loras.values() if draws(plan)],
        by_name(evaluate_suite.text_scorer),
    ),
    "evaluate_lora.precision": Place(
        PRECISIONS,
        lambda project: [plan.evaluate.precision for plan in project.loras.values()],
        by_name(PRECISIONS.load),
    ),
    "evaluate_lora.judge": Place(
        JUDGES, lambda project: [plan.evaluate.judge for plan in project.loras.values()], by_name(pictures_job.judge)
    ),
    "evaluate_suite.text_scorers": Place(TEXT_SCORERS, lambda _: [], by_name(evaluate_suite.text_scorer)),
    "compose_loras.precision": Place(
        PRECISIONS, lambda project: [project.compose_loras.precision], by_name(PRECISIONS.load)
    ),
    "compose_characters.embedder": Place(
        EMBEDDERS, lambda project: [project.compose_characters.embedder], by_name(compose_characters.embedder)
    ),
    "compose_loras.judge": Place(JUDGES, lambda project: [project.compose_loras.judge], by_name(pictures_job.judge)),
}
"""Backends are loaded once a process, through the stages' own caches."""


def trouble_of(load: Callable[[], object]) -> str:
    """Return what keeps a backend from being loaded, empty where nothing does."""
    try:
        load()
    except (MissingWeights, ValueError) as error:
        return str(error)
    return ""


def load_backends(project: Project) -> dict[str, Callable[[], object]]:
    """Return what loads each backend that the project names, by its key and, where several are named, its name."""
    loaders: dict[str, Callable[[], object]] = {}
    for key, place in PLACES.items():
        names = place.named(project)
        for name in names:
            loaders[key if len(names) == 1 else f"{key} {name}"] = partial(place.load, name, project)
    return loaders
