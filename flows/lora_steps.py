"""The stages of one LoRA: captions, data set, training, evaluation."""

from pathlib import Path
from typing import NamedTuple

from data_contracts.dataset import Dataset
from data_contracts.project import LoraPlan, Project
from data_contracts.records import Example, Expression, Identity, Layer, Plate, Pose
from data_contracts.results import LoraFile
from flows.commands.decisions import decisions_of
from flows.film_facts import Cast, Scenery
from models.caption.lint import other_names
from models.diffusion import tokenizer_folder
from tasks.assemble_dataset import assemble_dataset
from tasks.caption_images import caption_images, release_captioner
from tasks.evaluate_lora import evaluate_lora
from tasks.run_record import labelled
from tasks.train_lora import train_lora


class Made(NamedTuple):
    """A LoRA, and the pictures that it has learnt from and that were held out from it."""

    lora: Dataset[LoraFile]
    examples: Dataset[Example]


def make_lora(project: Project, name: str, base: Path, scenery: Scenery, cast: Cast | None) -> Made:
    """Caption, assemble, train and evaluate the LoRA `name`; an empty place needs no cast."""
    place, plan = project.workspace, project.loras[name]
    tokenizer = tokenizer_folder(base)
    with labelled(name):
        pictures: Dataset[Layer] | Dataset[Plate] = scenery.plates if plan.type == "background" else scenery.layers
        inhabitants = scenery.layers if plan.caption.inhabited else None
        facts = facts_of(plan, name, cast)
        seen = (pictures, inhabitants, scenery.frames, scenery.places)
        captions = caption_images(place, *seen, *facts, tokenizer, others_of(project, name), plan.caption)
        release_captioner()
        decisions = decisions_of(project, name)
        examples = assemble_dataset(place, captions, scenery.frames, pictures, inhabitants, decisions, plan.dataset)
        lora = train_lora(place, examples, base, plan.train)
        evaluate_lora(place, lora, base, plan.evaluate)
    return Made(lora, examples)


def needs_cast(plan: LoraPlan) -> bool:
    """Whether captions of a LoRA say who is seen: all do but those of an empty place."""
    return plan.type != "background" or plan.caption.inhabited


def facts_of(
    plan: LoraPlan, name: str, cast: Cast | None
) -> tuple[Dataset[Identity] | None, Dataset[Pose] | None, Dataset[Expression] | None]:
    """Return identities, poses and expressions where a LoRA's captions say them, else as many times None.

    Raises:
        ValueError: the cast was not looked at.
    """
    if not needs_cast(plan):
        return None, None, None
    if cast is None:
        message = f"{name}: {plan.type} LoRAs are captioned from the cast, which was not looked at"
        raise ValueError(message)
    return cast.identities, cast.poses, cast.expressions


def others_of(project: Project, name: str) -> tuple[str, ...]:
    """Return the names that the triggers of the project's other LoRAs are: no caption of this one may hold them."""
    return other_names(project.loras[name].caption, [plan.caption for plan in project.loras.values()])
