"""Train one LoRA in a child process that resumes from its own checkpoints."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from data_contracts.check_faults import refuse_errors
from data_contracts.dataset import Dataset
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.records import Example, Rejected
from data_contracts.results import LoraFile
from data_contracts.size_bands import sized
from data_contracts.training import TrainExample, TrainRequest
from models.dataset_checks.examples import check_examples
from models.diffusion import family_of
from models.pictures import keep_bytes
from models.sheets import lora_sheet
from models.trainers import TRAINERS
from tasks.job import Event, run_job
from tasks.progress import report_progress
from tasks.stage import stage


@stage(LoraFile, version=1, sheet=lora_sheet)
def train_lora(
    out: Path, examples: Dataset[Example], base: Path, config: TrainLoraConfig
) -> Iterator[LoraFile | Rejected]:
    """Yield the trained LoRA; its file says which films, shots and data set it learnt from."""
    learnt = examples.where("split", "train")
    shots = tuple(sorted({example.shot for example in learnt}))
    job = out.parent / "job"
    slots = sum(example.repeats for example in learnt)
    subjects = len(learnt.where("role", "subject"))
    settings = sized(config.settings, subjects, slots) if config.by_size else config.settings
    request = TrainRequest(
        name=config.name,
        trigger=config.trigger,
        base=base,
        examples=tuple(
            TrainExample(
                image=examples.path(example.image),
                mask=examples.path(example.mask) if example.mask else None,
                caption=example.caption,
                repeats=example.repeats,
            )
            for example in learnt
        ),
        output=job,
        settings=settings,
        metadata={
            "type": config.type,
            "subject": config.subject,
            "dataset": examples.content_digest,
            "films": json.dumps(sorted({example.film for example in learnt})),
            "shots": json.dumps(shots),
        },
    )
    refuse_errors(check_examples(request.examples, settings))
    run_job(TRAINERS.load(config.trainer), request, job, show_step, config.max_seconds)
    losses = [json.loads(line)["loss"] for line in (job / "loss.jsonl").read_text(encoding="utf-8").splitlines()]
    samples = sorted((job / "samples").glob("step-*.png"))
    yield LoraFile(
        id=config.name,
        name=config.name,
        type=config.type,
        subject=config.subject,
        trigger=config.trigger,
        family=family_of(base),
        weights=keep_bytes(out, (job / "lora.safetensors").read_bytes(), "safetensors"),
        loss_log=keep_bytes(out, (job / "loss.jsonl").read_bytes(), "jsonl"),
        samples=tuple(keep_bytes(out, sample.read_bytes(), "png") for sample in samples),
        sample_steps=tuple(int(sample.stem.split("-")[1]) for sample in samples),
        steps=settings.steps,
        final_loss=round(fmean(losses[-max(1, len(losses) // 10) :]), 6),
        dataset_digest=examples.content_digest,
        shots=shots,
    )


def show_step(event: Event) -> None:
    """Show the trainer's steps as progress."""
    if event.get("event") == "progress":
        report_progress(event["step"] / event["steps"], f"step {event['step']}, loss {event['loss']:.4f}")
