"""Train one LoRA in a child process that resumes from its own checkpoints."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from data_contracts.adapter_settings import embedding_beside
from data_contracts.check_faults import refuse_errors
from data_contracts.dataset import Dataset
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.records import Example, Rejected
from data_contracts.results import LoraFile
from data_contracts.size_bands import sized
from data_contracts.training import DrawnPrompt, DrawRequest, TrainExample, TrainRequest, TrainSettings
from data_contracts.validations import drawn_path, read_validations
from models.dataset_checks.examples import check_examples
from models.diffusion import family_of
from models.pictures import keep_bytes
from models.sheets import lora_sheet
from models.suite.prompts import plain_words
from models.trainers import TRAINERS
from models.trainers.choice import Choice, best_of
from tasks.job import Event, run_job
from tasks.progress import logger, report_progress
from tasks.stage import stage

Watch = Callable[[Event], None]
_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@stage(LoraFile, version=4, sheet=lora_sheet)
def train_lora(
    out: Path, examples: Dataset[Example], base: Path, config: TrainLoraConfig
) -> Iterator[LoraFile | Rejected]:
    """Yield the trained LoRA; its file says which films, shots and data set it learnt from."""
    job = out.parent / "job"
    request = request_for(job, examples, base, config)
    refuse_errors(check_examples((*request.examples, *request.held_out), request.settings))
    done = run_job(TRAINERS.load(config.trainer), request, job, show_event, config.max_seconds)
    lora = job / "lora.safetensors"
    embedding = embedding_beside(lora)
    samples = sorted((job / "samples").glob("step-*.png"))
    chosen: int = done["step"] if "step" in done else done["steps"]
    yield LoraFile(
        id=config.name,
        name=config.name,
        type=config.type,
        subject=config.subject,
        trigger=config.trigger,
        family=family_of(base),
        weights=keep_bytes(out, lora.read_bytes(), "safetensors") if request.settings.rank else None,
        embedding=keep_bytes(out, embedding.read_bytes(), "safetensors") if embedding.is_file() else None,
        clip_skip=request.settings.clip_skip,
        loss_log=keep_bytes(out, (job / "loss.jsonl").read_bytes(), "jsonl"),
        samples=tuple(keep_bytes(out, sample.read_bytes(), "png") for sample in samples),
        sample_steps=tuple(int(sample.stem.split("-")[1]) for sample in samples),
        steps=done["steps"],
        final_loss=round(done["final_loss"], 6),
        chosen_step=chosen,
        drawn_captions=tuple(each.caption for each in request.drawing.prompts) if request.drawing else (),
        **validated(out, job / "validation.jsonl", chosen, request.settings.choose),
        dataset_digest=examples.content_digest,
        shots=tuple(sorted({example.shot for example in examples.where("split", "train")})),
    )


def request_for(job: Path, examples: Dataset[Example], base: Path, config: TrainLoraConfig) -> TrainRequest:
    """Return what the trainer is asked for: to learn the training pictures, and to be measured on those held out."""
    learnt, settings = examples.where("split", "train"), settings_for(examples, config)
    held_out: list[Example] = []
    compared: list[Example] = []
    if settings.validate_every:
        held_out = spread(examples.where("split", "held_out"), settings.validate_pictures)
        compared = spread(learnt.where("role", "subject"), len(held_out))
    return TrainRequest(
        drawing=drawing_for(examples, config, settings) if held_out and config.trainer == "native" else None,
        name=config.name,
        trigger=config.trigger,
        base=base,
        examples=to_learn(examples, learnt.rows),
        held_out=to_learn(examples, held_out),
        compared=to_learn(examples, compared),
        output=job,
        settings=settings,
        metadata={
            "type": config.type,
            "subject": config.subject,
            "dataset": examples.content_digest,
            "films": json.dumps(sorted({example.film for example in learnt})),
            "shots": json.dumps(sorted({example.shot for example in learnt})),
        },
    )


def drawing_for(examples: Dataset[Example], config: TrainLoraConfig, settings: TrainSettings) -> DrawRequest | None:
    """Return what validations draw: held-out captions of the subject, again from the first where they are too few."""
    held_out = examples.where("split", "held_out").where("role", "subject")
    captions = [row.caption for row in spread(held_out, settings.validate_drawn)]
    if not captions:
        return None
    words = plain_words(config.type, config.subject)
    prompts = [captions[number % len(captions)] for number in range(settings.validate_drawn)]
    return DrawRequest(
        prompts=tuple(
            DrawnPrompt(caption=caption, plain=caption.replace(config.trigger, words, 1)) for caption in prompts
        ),
        references=tuple(
            TrainExample(
                image=examples.path(row.image),
                mask=examples.path(row.mask) if row.mask and config.type != "background" else None,
                caption=row.caption,
            )
            for row in held_out
        ),
    )


def settings_for(examples: Dataset[Example], config: TrainLoraConfig) -> TrainSettings:
    """Return the settings, with the steps and rates that suit the data set where the configuration says so."""
    learnt = examples.where("split", "train")
    slots = sum(example.repeats for example in learnt)
    return sized(config.settings, len(learnt.where("role", "subject")), slots) if config.by_size else config.settings


def to_learn(examples: Dataset[Example], rows: tuple[Example, ...] | list[Example]) -> tuple[TrainExample, ...]:
    """Return rows of a data set as the trainer reads them."""
    return tuple(
        TrainExample(
            image=examples.path(row.image),
            mask=examples.optional_path(row.mask),
            caption=row.caption,
            repeats=row.repeats,
        )
        for row in rows
    )


def spread(examples: Dataset[Example], count: int) -> list[Example]:
    """Return at most `count` examples, of all shots alike as far as they have as many, evenly through each."""
    shots = sorted(examples.groups("shot").values(), key=len)
    chosen: list[Example] = []
    for number, shot in enumerate(shots):
        share = min(len(shot), (count - len(chosen)) // (len(shots) - number))
        chosen += [shot.rows[(2 * place + 1) * len(shot) // (2 * share)] for place in range(share)]
    return chosen


def validated(out: Path, log: Path, chosen: int, choose: Choice) -> dict[str, Any]:
    """Return what a LoRA's row says of its validations, after keeping their log; nothing where there were none."""
    course = read_validations(log)
    by_step = {each.step: each for each in course}
    best, base, lora = best_of(course, choose), by_step.get(0), by_step.get(chosen)
    if best is None:
        return {}
    drawn = [
        (each.step, drawn_path(log.parent, each.step, number))
        for each in course
        for number in range(each.drawn.pictures if each.drawn else 0)
    ]
    return {
        "drawn": tuple(keep_bytes(out, path.read_bytes(), "png") for _, path in drawn),
        "drawn_steps": tuple(step for step, _ in drawn),
        "base_likeness": base.drawn.mean_likeness if base and base.drawn else None,
        "likeness": lora.drawn.mean_likeness if lora and lora.drawn else None,
        "copies": lora.drawn.copies if lora and lora.drawn else None,
        "validation_log": keep_bytes(out, log.read_bytes(), "jsonl"),
        "best_step": best.step,
        "base_held_out_loss": base.loss if base else None,
        "held_out_loss": lora.loss if lora else None,
        "learnt_loss": lora.learnt_loss if lora else None,
    }


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Have every event of the trainings inside told to `watch` as well; what it raises stops the training."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def show_event(event: Event) -> None:
    """Show the trainer's steps as progress, and its notes as warnings."""
    if event.get("event") == "progress":
        report_progress(event["step"] / event["steps"], f"step {event['step']}, loss {event['loss']:.4f}")
    elif event.get("event") == "note":
        logger.warning("%s", event["message"])
    if (watch := _watch.get()) is not None:
        watch(event)
