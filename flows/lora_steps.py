"""The stages of one LoRA: captions, data set, training, evaluation."""

from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.project import Project
from data_contracts.records import Caption, LoraFile
from flows.film_facts import Cast, Scenery
from tasks.assemble_dataset import assemble_dataset
from tasks.caption_images import caption_images
from tasks.evaluate_lora import evaluate_lora
from tasks.run_record import labelled
from tasks.train_lora import train_lora


def make_lora(project: Project, name: str, base: Path, scenery: Scenery, cast: Cast | None) -> Dataset[LoraFile]:
    """Caption, assemble, train and evaluate the LoRA `name`; a background needs no cast."""
    place, plan = project.workspace, project.loras[name]
    tokenizer = base / "tokenizer"
    with labelled(name):
        if plan.type == "background":
            plates, places = scenery.plates, scenery.places
            captions = caption_images(place, plates, scenery.frames, places, None, None, None, tokenizer, plan.caption)
            examples = assemble_dataset(place, captions, scenery.frames, plates, plan.dataset)
        else:
            captions = caption_cast(project, name, tokenizer, scenery, cast)
            examples = assemble_dataset(place, captions, scenery.frames, scenery.layers, plan.dataset)
        lora = train_lora(place, examples, base, plan.train)
        evaluate_lora(place, lora, base, plan.evaluate)
    return lora


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
    return caption_images(project.workspace, layers, frames, places, *facts, tokenizer, plan.caption)
