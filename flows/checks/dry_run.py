"""The whole graph on a few seconds of film, one step a training, one picture an evaluation.

What a check cannot know shows itself in minutes instead of hours: a network that does not fit into the memory, a server
that answers nonsense, a base model that cannot be trained.
"""

import shutil
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from data_contracts.dataset import Dataset, R
from data_contracts.faults import StageFault
from data_contracts.project import LoraPlan, Project
from data_contracts.stages import FilmSource
from flows.base_model import base_model
from flows.checks.preflight import somebody
from flows.film_facts import Cast, Scenery, see_cast, see_scenery
from flows.lora_steps import Made, make_lora, needs_cast
from flows.stack_loras import stack_made
from models.shots.film import film_facts
from tasks.caption_crops import is_large_enough
from tasks.run_record import recorded_run

SECONDS = 6.0
FOLDER = "dry-run"
PICTURES = 8
SEARCH_SEED = 2  # another than the test's
console = Console()


def print_dry_run(project: Project, loras: list[str]) -> None:
    """Run the graph small in `<workspace>/dry-run`, print what each stage took, and delete it.

    Raises:
        StageFault: a stage failed; the message says which, and its results are left to be looked at.
    """
    small = made_small(project)
    shutil.rmtree(small.workspace, ignore_errors=True)
    table = Table("stage", "for", "seconds", title=f"{project.name}: {SECONDS:g} seconds of film, one step a training")
    with recorded_run(small.workspace, small.name) as run:
        idle = run_small(small, loras)
    for use in run.stages:
        table.add_row(use.stage, use.label, f"{use.seconds:.1f}")
    console.print(table)
    for name, why in idle.items():
        console.print(f"{name}: not trained: {why}")
    if len(idle) == len(loras):
        message = f"the {SECONDS:g} seconds looked at hold nothing to train on: nothing is known of the training"
        raise StageFault(message)
    shutil.rmtree(small.workspace)
    console.print("dry run: every stage works here.")


def run_small(project: Project, loras: list[str]) -> dict[str, str]:
    """Run every stage; return why LoRAs could not be trained on so little film."""
    base, scenery = base_model(project), see_scenery(project)
    cast = see_cast(project, scenery) if any(needs_cast(project.loras[name]) for name in loras) else None
    made: list[Made] = []
    idle: dict[str, str] = {}
    for name in loras:
        if fault := nothing_to_learn(project.loras[name], scenery, cast):
            idle[name] = fault
            continue
        seen = as_if_shown(project.loras[name], scenery, cast)
        made.append(make_lora(project, name, base, *seen))
    if made:
        stack_made(project, tuple(made), base)
    return idle


def made_small(project: Project) -> Project:
    """Return the project with little film, small limits, and one step of everything that is slow."""
    film, frame = somebody(project) or (project.films[0], project.films[0].from_frame)
    facts = film_facts(film.path)
    half = round(SECONDS / 2 * facts.fps)
    start = max(film.from_frame, frame - half)
    part = FilmSource(
        path=film.path, from_frame=start, to_frame=min(facts.frames or start + 2 * half, start + 2 * half)
    )
    few = {"min_cluster_size": 2, "min_samples": 1, "may_be_empty": True}
    changed = {
        "films": (part,),
        "workspace": project.workspace / FOLDER,
        "inpaint_plates": project.inpaint_plates.model_copy(
            update={"per_shot": 1, "max_invented_share": 1.0, "max_unsure_share": 1.0}
        ),
        "cluster_places": project.cluster_places.model_copy(update=few),
        "identify_characters": project.identify_characters.model_copy(update=few),
        "cluster_poses": project.cluster_poses.model_copy(update=few),
        "loras": {name: plan_made_small(plan) for name, plan in project.loras.items()},
        "search_weights": project.search_weights.model_copy(
            update={"trials": min(1, project.search_weights.trials), "seeds": (SEARCH_SEED,), "steps": 1}
        ),
        "compose_loras": project.compose_loras.model_copy(update={"seeds": (1,), "steps": 1}),
    }
    return project.model_copy(update=changed)


def plan_made_small(plan: LoraPlan) -> LoraPlan:
    """Return a LoRA's plan with one step, one picture and a handful of examples."""
    step = {"steps": 1, "warmup_steps": 0, "checkpoint_every": 1, "sample_every": 1, "sample_steps": 1}
    step["validate_drawn"] = min(1, plan.train.settings.validate_drawn)
    train = plan.train.model_copy(update={"settings": plan.train.settings.model_copy(update=step), "by_size": False})
    dataset = {"target": PICTURES, "min_sharpness": 0.0, "max_upscale": 64.0, "max_duplicate_distance": -1}
    return plan.model_copy(
        update={
            "dataset": plan.dataset.model_copy(update=dataset),
            "train": train,
            "evaluate": plan.evaluate.model_copy(update={"seeds": (1,), "steps": 1}),
        }
    )


def nothing_to_learn(plan: LoraPlan, scenery: Scenery, cast: Cast | None) -> str:
    """Return why so little film has no picture of the LoRA's kind; empty where it has."""
    if plan.type == "background":
        return "" if len(scenery.places) else "no plate was kept"
    if cast is None or not len(scenery.layers):
        return "nobody was cut out"
    faces = [face.face_box for face in cast.expressions if face.face_box and is_large_enough(face.face_box)]
    return "" if faces or plan.type != "expression" else "no face is large enough"


def as_if_shown(plan: LoraPlan, scenery: Scenery, cast: Cast | None) -> tuple[Scenery, Cast | None]:
    """Return what was seen, all of it called the LoRA's subject where the subject is not in so little film."""
    subject = plan.caption.subject
    if plan.type == "background":
        return replace(scenery, places=called(scenery.places, "name", subject)), cast
    if cast is None:
        return scenery, None
    if plan.type == "character":
        return scenery, replace(cast, identities=called(cast.identities, "name", subject))
    if plan.type == "pose":
        return scenery, replace(cast, poses=called(cast.poses, "action", subject))
    return scenery, replace(cast, expressions=called(cast.expressions, "label", subject))


def called(rows: Dataset[R], field: str, value: str) -> Dataset[R]:
    """Return the rows as they are where one has `value`, else all with it."""
    if any(getattr(row, field) == value for row in rows):
        return rows
    return Dataset(rows.record, rows.folder, (row.model_copy(update={field: value}) for row in rows))
