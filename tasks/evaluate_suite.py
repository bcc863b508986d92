"""Measure the pictures of the evaluation suite, and say what the LoRA changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import EvaluateSuiteConfig
from data_contracts.records import Example, LoraType, Rejected
from data_contracts.results import CopyCheck, Finding, LoraFile, Score, SuitePicture, SuiteScores
from models.embed import EMBEDDERS, Embeddings
from models.embed.files import embed_files
from models.metrics.copying import LEAST_HELD_OUT, Layouts, nearest
from models.metrics.likeness import likeness, read_subject
from models.metrics.text_scorers import TEXT_SCORERS
from models.pictures import Picture, read_rgb
from models.sheets.suite import suite_sheet
from models.shots.quality import sharpness
from models.suite.summary import COPIES, DIVERSITY, FOUND, LIKENESS, SHARPNESS, TEXT, summarise, write_summary
from models.suite.words import write_words
from tasks.pictures_job import findings_of
from tasks.progress import report_progress
from tasks.stage import stage

BATCH = 32
embedder = cache(EMBEDDERS.load)  # all of a suite stay loaded: every batch asks each
text_scorer = cache(TEXT_SCORERS.load)


@dataclass(frozen=True)
class Known:
    """The subject's pictures: those that the LoRA has learnt from, and those that were held out."""

    ids: tuple[str, ...]  # of the training examples, in the order of `training`
    training: Layouts
    held_out: Layouts
    references: Mapping[str, Embeddings]  # of the held-out pictures, by embedder


@stage(SuiteScores, version=1, sheet=suite_sheet)
def evaluate_suite(
    out: Path,
    pictures: Dataset[SuitePicture],
    examples: Dataset[Example],
    loras: Dataset[LoraFile],
    config: EvaluateSuiteConfig,
) -> Iterator[SuiteScores | Rejected]:
    """Yield what was measured on each picture; write the summary beside the rows."""
    known = known_pictures(examples, loras.rows[0].type, config)
    rows: list[SuiteScores] = []
    vectors: list[Embeddings] = []
    for start in range(0, len(pictures), BATCH):
        batch = pictures.rows[start : start + BATCH]
        images = [read_rgb(pictures.path(row.image)) for row in batch]
        seen = {name: embedder(name).embed(images) for name in config.embedders}
        scores = scores_of(batch, images, seen, known, config)
        findings = findings_of(config.judge, loras.rows, images)
        checks = [copy_check(image, known) for image in images]
        rows += map(scored, batch, findings, scores, checks)
        vectors += list(seen.values())[:1]
        report_progress(min(1.0, (start + BATCH) / len(pictures)), "measuring")
    absent = {**config.absent, **absent_measures(rows, known, config)}
    summary = summarise(loras.rows[0].name, rows, np.concatenate(vectors) if vectors else None, absent)
    write_summary(out.parent, summary)
    write_words(out.parent, summary, rows)
    yield from rows


def scored(
    picture: SuitePicture, findings: tuple[Finding, ...], scores: tuple[Score, ...], copying: CopyCheck | None
) -> SuiteScores:
    """Return a picture's row."""
    return SuiteScores(
        id=f"{picture.id}:scores",
        picture_id=picture.id,
        category=picture.category,
        prompt=picture.prompt,
        seed=picture.seed,
        strength=picture.strength,
        findings=findings,
        scores=scores,
        copying=copying,
    )


def known_pictures(examples: Dataset[Example], kind: LoraType, config: EvaluateSuiteConfig) -> Known:
    """Read the subject's pictures, a batch in memory at a time."""
    subject = examples.where("role", "subject")
    training, held_out = subject.where("split", "train"), subject.where("split", "held_out")
    masks = {held_out.path(row.image): held_out.path(row.mask) for row in held_out if row.mask and kind != "background"}

    def reference(path: Path) -> Picture:
        return read_subject(path, masks.get(path))

    paths = [held_out.path(row.image) for row in held_out]
    return Known(
        tuple(row.id for row in training),
        Layouts(read_rgb(training.path(row.image)) for row in training),
        Layouts(read_rgb(path) for path in paths),
        {name: embed_files(embedder(name), paths, reference, report_progress) for name in config.embedders},
    )


def scores_of(
    batch: Sequence[SuitePicture],
    images: Sequence[Picture],
    seen: Mapping[str, Embeddings],
    known: Known,
    config: EvaluateSuiteConfig,
) -> list[tuple[Score, ...]]:
    """Return the measures of each picture of a batch."""
    columns: dict[str, Sequence[float]] = {}
    for name, vectors in seen.items():
        if (like := likeness(vectors, known.references[name])) is not None:
            columns[f"{LIKENESS} {name}"] = like.tolist()
    for name in config.text_scorers:
        columns[f"{TEXT} {name}"] = (
            text_scorer(name).scores(images, [config.plain[row.prompt] for row in batch]).tolist()
        )
    columns[SHARPNESS] = [sharpness(image) for image in images]
    return [
        tuple(Score(measure=measure, value=round(value, 4)) for measure, value in zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def copy_check(image: Picture, known: Known) -> CopyCheck | None:
    """Return which training picture one is nearest to, and whether it repeats it; None where nothing can be said."""
    found = nearest(image, known.training, known.held_out)
    if found is None:
        return None
    return CopyCheck(
        nearest=known.ids[found.training],
        to_training=round(found.to_training, 4),
        to_held_out=round(found.to_held_out, 4),
        is_copy=found.is_copy,
    )


def absent_measures(rows: Sequence[SuiteScores], known: Known, config: EvaluateSuiteConfig) -> dict[str, str]:
    """Return what could not be measured on these pictures, and why."""
    held, remedy = len(known.held_out), "give more film, or raise `dataset.held_out_share`"
    absent = {}
    if config.judge is not None and not any(row.findings for row in rows):
        absent[FOUND] = f"the judge {config.judge} does not know the subject"
    if not config.embedders:
        absent[LIKENESS] = absent[DIVERSITY] = "no embedder is on this machine"
    elif not held:
        absent[LIKENESS] = f"no picture of the subject is held out: {remedy}"
    if held < LEAST_HELD_OUT:
        absent[COPIES] = f"{held} pictures of the subject are held out, fewer than {LEAST_HELD_OUT}: {remedy}"
    return absent
