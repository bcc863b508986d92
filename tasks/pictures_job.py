"""Generating pictures in a child process and judging them, the same way for evaluation and composition."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.faults import InputFault
from data_contracts.generation import GenerateRequest, NamedLora, Variant, picture_name
from data_contracts.results import Finding, LoraFile
from data_contracts.sampling import SamplingConfig
from models.metrics.judges import JUDGES, Judge
from models.pictures import Picture, keep_bytes
from tasks.job import Event, run_job
from tasks.progress import report_progress

Findings = tuple[Finding, ...]


def generate(  # noqa: PLR0913, PLR0917
    job: Path,
    base: Path,
    loras: Dataset[LoraFile] | tuple[Dataset[LoraFile], ...],
    variants: tuple[Variant, ...],
    prompts: tuple[str, ...],
    config: SamplingConfig,
    negative_prompt: str = "",
    width: int | None = None,
) -> None:
    """Generate a picture for each variant, prompt and seed into `job/pictures`; those that are there stay.

    width: in pixels, where pictures are not square.

    Raises:
        InputFault: the LoRAs read different layers of the text encoder.
    """
    sets = (loras,) if isinstance(loras, Dataset) else loras
    request = GenerateRequest(
        base=base,
        loras=tuple(named(each, lora) for each in sets for lora in each),
        variants=variants,
        prompts=prompts,
        negative_prompt=negative_prompt,
        seeds=config.seeds,
        steps=config.steps,
        guidance=config.guidance,
        size=config.size,
        width=width,
        batch=config.batch,
        precision=config.precision,
        clip_skip=common_clip_skip([lora for each in sets for lora in each]),
        output=job / "pictures",
    )
    run_job("models.diffusion.generate:generate", request, job, show_picture)


def named(files: Dataset[LoraFile], lora: LoraFile) -> NamedLora:
    """Return a LoRA as the generator reads it: its file, its embedding's, or both."""
    weights, embedding = files.optional_path(lora.weights), files.optional_path(lora.embedding)
    return NamedLora(name=lora.name, path=weights, embedding=embedding)


def common_clip_skip(loras: Sequence[LoraFile]) -> int:
    """Return the layer of the text encoder that LoRAs read, counted from the last.

    Raises:
        InputFault: not all read the same.
    """
    skips = {lora.name: lora.clip_skip for lora in loras}
    if len(set(skips.values())) > 1:
        message = f"LoRAs trained with different train.clip_skip, {skips}, cannot be drawn together: train them alike"
        raise InputFault(message)
    return next(iter(skips.values()), 1)


def show_picture(event: Event) -> None:
    """Show the generator's pictures as progress."""
    if "of" in event:
        report_progress(event["pictures"] / event["of"], f"picture {event['pictures']} of {event['of']}")


def keep_generated(out: Path, variant: str, prompt: int, seed: int) -> str:
    """Copy one generated picture into the dataset's files; return its name there."""
    path = out.parent / "job" / "pictures" / picture_name(variant, prompt, seed)
    return keep_bytes(out, path.read_bytes(), "png")


def findings_of(judge_name: str | None, members: Sequence[LoraFile], pictures: Sequence[Picture]) -> list[Findings]:
    """Return for each picture a finding of each LoRA whose subject the judge knows; none without a judge."""
    if judge_name is None:
        return [()] * len(pictures)
    asked = judge(judge_name)
    known = [lora for lora in members if asked.knows(lora.type, lora.subject)]
    chances = asked.likelihoods(pictures, [(lora.type, lora.subject) for lora in known])
    return [
        tuple(Finding(lora=lora.name, probability=round(chance, 4)) for lora, chance in zip(known, row, strict=True))
        for row in chances
    ]


@cache
def judge(name: str) -> Judge:
    """Load a judge once a process."""
    return JUDGES.load(name)


def change(one: Picture, other: Picture) -> float:
    """Return the mean absolute difference of two pictures, 0..255."""
    return round(float(np.abs(one.astype(np.int16) - other).mean()), 4)
