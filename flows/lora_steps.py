"""The stages of one LoRA: captions, data set, training, evaluation."""

from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.project import Project
from data_contracts.records import LoraFile
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
            sources, facts = scenery.plates, (None, None, None)
        else:
            if cast is None:
                message = f"{name}: {plan.type} LoRAs are captioned from the cast, which was not looked at"
                raise ValueError(message)
            sources, facts = scenery.layers, (cast.identities, cast.poses, cast.expressions)
        captions = caption_images(place, sources, scenery.frames, scenery.places, *facts, tokenizer, plan.caption)
        examples = assemble_dataset(place, captions, scenery.frames, sources, plan.dataset)
        lora = train_lora(place, examples, base, plan.train)
        evaluate_lora(place, lora, base, plan.evaluate)
    return lora
