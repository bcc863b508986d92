"""The stages of one LoRA: captions, data set, training, evaluation."""

from pathlib import Path
from typing import NamedTuple

from data_contracts.dataset import Dataset
from data_contracts.project import Project
from data_contracts.records import Caption, Example, Layer, Plate
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
    """Caption, assemble, train and evaluate the LoRA `name`; a background needs no cast."""
    place, plan = project.workspace, project.loras[name]
    tokenizer = tokenizer_folder(base)
    with labelled(name):
        if plan.type == "background":
            plates, places = scenery.plates, scenery.places
            facts = (scenery.frames, places, None, None, None, tokenizer, others_of(project, name))
            captions = caption_images(place, plates, *facts, plan.caption)
            pictures: Dataset[Layer] | Dataset[Plate] = plates
        else:
            captions = caption_cast(project, name, tokenizer, scenery, cast)
            pictures = scenery.layers
        release_captioner()
        decisions = decisions_of(project, name)
        examples = assemble_dataset(place, captions, scenery.frames, pictures, decisions, plan.dataset)
        lora = train_lora(place, examples, base, plan.train)
        evaluate_lora(place, lora, base, plan.evaluate)
    return Made(lora, examples)


def caption_cast(project: Project, name: str, tokenizer: Path, scenery: Scenery, cast: Cast | None) -> Dataset[Caption]:
    """Caption layers with all that is known of them.

    Raises:
        ValueError: the cast was not looked at.
    """
    plan = project.loras[name]
    if cast is None:
        message = f"{name}: {plan.type} LoRAs are captioned from the cast, which was not looked at"
        raise ValueError(message)
    facts = (cast.identities, cast.poses, cast.expressions)
    layers, frames, places = scenery.layers, scenery.frames, scenery.places
    others = others_of(project, name)
    return caption_images(project.workspace, layers, frames, places, *facts, tokenizer, others, plan.caption)


def others_of(project: Project, name: str) -> tuple[str, ...]:
    """Return the names that the triggers of the project's other LoRAs are: no caption of this one may hold them."""
    return other_names(project.loras[name].caption, [plan.caption for plan in project.loras.values()])
