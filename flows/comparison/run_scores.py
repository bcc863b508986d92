"""What a run's pictures scored, sorted by what made them, so that two runs can be compared."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from data_contracts.comparison import Better
from data_contracts.dataset import Dataset, R, read_dataset
from data_contracts.manifest import Manifest
from data_contracts.results import Evaluation, LoraFile, StackPicture, SuitePicture, SuiteScores
from data_contracts.results import Picture as Generated
from data_contracts.validations import Validation, read_validations
from flows.comparison.find_run import FoundRun
from models.metrics.weight_choice import joint_score
from models.suite.summary import COPIES, DIVERSITY, FOUND, LIKENESS, TEXT, measures_of, read_summary
from tasks.run_record import StageUse

SHOWS, ALL_OF_IT, HELD_OUT = "shows", "shows all", "held-out loss"
SHARPNESS, CHANGED = "sharpness", "changed"
STACK = "the stack"
_BETTER: dict[str, Better] = {
    SHOWS: "higher",
    LIKENESS: "higher",
    TEXT: "higher",
    DIVERSITY: "higher",
    FOUND: "higher",
    COPIES: "lower",
    HELD_OUT: "lower",
}


@dataclass(frozen=True)
class Scored:
    """One picture: how it scored, and where it is; a held-out picture's loss has none."""

    scores: dict[str, float]
    image: Path | None = None


@dataclass(frozen=True)
class Sample:
    """Pictures that one set of weights made, by prompt and seed."""

    of: str
    variant: str
    pictures: dict[tuple[str, int], Scored] = field(default_factory=dict)
    ground: str = ""  # only samples on the same ground can be paired

    @property
    def title(self) -> str:
        """What the pictures test, and what made them."""
        return f"{self.of}, {self.variant}"


def better(measure: str) -> Better:
    """Return which direction of a measure is good; of one that is not known here, neither."""
    return next((way for name, way in _BETTER.items() if measure == name or measure.startswith(f"{name} ")), "neither")


def samples_of(run: FoundRun) -> dict[str, Sample]:
    """Return a run's samples by title; pictures without any LoRA are left out, they say nothing of LoRAs."""
    samples: dict[str, Sample] = {}
    for use, manifest in finished(run):
        folder = run.workspace / use.key
        if manifest.record == Evaluation.__name__:
            found = list(_drawn(read_dataset(folder, Evaluation), f"{use.label} alone", manifest))
        elif manifest.record == StackPicture.__name__:
            found = list(_drawn(read_dataset(folder, StackPicture), STACK, manifest))
        elif manifest.record == SuiteScores.__name__:
            found = list(_suite(run, use, manifest))
        elif manifest.record == LoraFile.__name__:
            found = list(_validated(read_dataset(folder, LoraFile)))
        else:
            continue
        samples |= {sample.title: sample for sample in found}
    return samples


def figures_of(run: FoundRun) -> dict[tuple[str, str], float]:
    """Return the figures of which a run has one each, by what they are of and their name."""
    figures: dict[tuple[str, str], float] = {}
    for use, manifest in finished(run):
        folder = run.workspace / use.key
        if manifest.record == LoraFile.__name__:
            for row in read_dataset(folder, LoraFile):
                known = {"training loss": row.final_loss, f"{HELD_OUT} (mean)": row.held_out_loss}
                figures |= {(row.name, name): value for name, value in known.items() if value is not None}
        elif manifest.record == SuiteScores.__name__:
            for cell in read_summary(folder).overall:
                if (effect := cell.effect(DIVERSITY)) is not None:
                    figures[f"{use.label} in the suite, strength {cell.strength:g}", DIVERSITY] = effect.value
        elif manifest.record == StackPicture.__name__:
            together = [row for row in read_dataset(folder, StackPicture) if row.variant == "all" and row.findings]
            if together:
                whole = fmean(all(finding.is_found for finding in row.findings) for row in together)
                figures[STACK, f"{FOUND} together, share of pictures"] = whole
    return figures


def finished(run: FoundRun) -> Iterator[tuple[StageUse, Manifest]]:
    """Yield the results of a run that are still there, with their manifests."""
    for use in run.record.stages:
        if (manifest := Manifest.load(run.workspace / use.key)) is not None:
            yield use, manifest


def _drawn(rows: Dataset[R], of: str, manifest: Manifest) -> Iterator[Sample]:
    """Yield the samples of an evaluation or a composition test; judges differ, so a score's name has its judge's."""
    judge = manifest.config.get("judge")
    for variant, pictures in rows.groups("variant").items():
        sample = Sample(of, variant)
        for row in pictures:
            if not isinstance(row, Generated) or not (active := _active(row)):
                continue
            found = [finding for finding in row.findings if finding.lora in active]
            scores = {f"{SHOWS} {finding.lora} by {judge}": finding.probability for finding in found}
            if len(found) == len(active) > 1:
                scores = {f"{ALL_OF_IT} by {judge}": joint_score(found), **scores}
            if isinstance(row, Evaluation):
                scores[SHARPNESS] = row.sharpness
            if isinstance(row, Evaluation | StackPicture):
                scores[CHANGED] = row.changed
            sample.pictures[row.prompt, row.seed] = Scored(scores, pictures.path(row.image))
        if sample.pictures:
            yield sample


def _active(row: Generated) -> set[str]:
    return {weight.lora for weight in row.weights if weight.weight}


def _suite(run: FoundRun, use: StageUse, manifest: Manifest) -> Iterator[Sample]:
    drawn = next(key for key in use.parents if key.startswith("draw_suite/"))
    pictures, judge = read_dataset(run.workspace / drawn, SuitePicture), manifest.config.get("judge")
    samples: dict[float, Sample] = {}
    for row in read_dataset(run.workspace / use.key, SuiteScores):
        if row.strength:
            measured = {name: value for name, value in measures_of(row).items() if name != FOUND}
            scores = {f"{SHOWS} {each.lora} by {judge}": each.probability for each in row.findings} | measured
            new = Sample(f"{use.label} in the suite", f"strength {row.strength:g}")
            sample = samples.setdefault(row.strength, new)
            image = pictures.path(pictures.by_id[row.picture_id].image)
            sample.pictures[row.prompt, row.seed] = Scored(scores, image)
    yield from samples.values()


def _validated(rows: Dataset[LoraFile]) -> Iterator[Sample]:
    """Yield the losses on held-out pictures: noise is the same in all trainings, so pictures are pairs."""
    for row in rows:
        if row.validation_log is None:
            continue
        chosen: list[Validation] = [
            each for each in read_validations(rows.path(row.validation_log)) if each.step == row.chosen_step
        ]
        if chosen:
            losses = {(f"picture {n}", 0): Scored({HELD_OUT: loss}) for n, loss in enumerate(chosen[-1].held_out)}
            yield Sample(row.name, "held-out pictures", losses, json.dumps([row.dataset_digest, len(losses)]))
