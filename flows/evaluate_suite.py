"""One trained LoRA through the evaluation suite: what it draws, and what that is worth."""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from data_contracts.dataset import Dataset
from data_contracts.faults import InputFault
from data_contracts.lora_stages import DrawSuiteConfig, EvaluateSuiteConfig
from data_contracts.manifest import Manifest
from data_contracts.project import LoraPlan, Project
from data_contracts.project_file import load_project
from data_contracts.records import Example
from data_contracts.results import LoraFile
from flows.base_model import base_model
from flows.reported_run import reported_run
from models.embed import EMBEDDERS
from models.metrics.judges import JUDGES
from models.metrics.text_scorers import TEXT_SCORERS
from models.suite.prompts import class_words, plain_prompts, suite_prompts
from models.suite.summary import FOUND, LIKENESS, TEXT
from models.suite.thoroughness import THOROUGHNESS
from tasks.draw_suite import draw_suite
from tasks.evaluate_suite import evaluate_suite
from tasks.progress import logger
from tasks.run_record import RunRecord, labelled, latest_runs, note_use, result_of

EMBEDDED_BY = ("dinov2-base", "clip-vit-large-patch14", "efficientnet-lite0+colour")
"""DINO and CLIP-I, which papers give, and what is here where neither is."""


@dataclass(frozen=True)
class Evaluated:
    """Where an evaluation's report and its summary are."""

    report: Path
    folder: Path


@dataclass(frozen=True)
class Trained:
    """A LoRA of the workspace, the data set that it was trained on, and the run that made both."""

    lora: Dataset[LoraFile]
    examples: Dataset[Example]
    run: RunRecord


@flow(name="evaluate-suite", flow_run_name="{lora}")
def evaluate_in_suite(
    config: Path, lora: str, thoroughness: str = "standard", subject: str = "", changes: dict[str, str] | None = None
) -> Evaluated:
    """Draw and measure the suite for the LoRA that the newest run has trained; what is drawn is not drawn again.

    Args:
        config: the project file.
        lora: one of the names under its `loras`.
        thoroughness: quick, standard or thorough.
        subject: what the trigger stands for, such as "a boy"; empty: as the project describes it.
        changes: values that replace the file's, by dotted key.
    """
    project = load_project(config, changes)
    trained = newest_trained(project, lora)
    plan = project.loras[lora]
    drawing, measuring = draw_config(plan, thoroughness), measures_here(plan, subject)
    strengths = ", ".join(f"{each:g}" for each in drawing.strengths)
    logger.info(
        "%s pictures: prompts %s, seeds %s, without the LoRA and at strength %s",
        drawing.pictures, len(drawing.prompts), len(drawing.seeds), strengths,
    )  # fmt: skip
    with reported_run(project, f"evaluation of {lora}") as report:
        keep_uses(project.workspace, trained.run)
        with labelled(lora):
            pictures = draw_suite(project.workspace, trained.lora, base_model(project), drawing)
            scores = evaluate_suite(project.workspace, pictures, trained.examples, trained.lora, measuring)
    return Evaluated(report.path, scores.folder)


def newest_trained(project: Project, lora: str) -> Trained:
    """Return the LoRA of this name that the newest run has trained.

    Raises:
        InputFault: the project has no such LoRA, or no run has trained it.
    """
    if lora not in project.loras:
        message = f"{lora!r} is not a LoRA of the project; known: {', '.join(project.loras)}"
        raise InputFault(message)
    for run in latest_runs(project.workspace):
        weights = run.finished(project.workspace, "train_lora", lora)
        examples = run.finished(project.workspace, "assemble_dataset", lora)
        if weights is not None and examples is not None:
            return Trained(
                result_of(project.workspace, weights, LoraFile), result_of(project.workspace, examples, Example), run
            )
    message = f"no run has trained {lora!r} yet: reel2lora run CONFIG --lora {lora}"
    raise InputFault(message)


def draw_config(plan: LoraPlan, thoroughness: str) -> DrawSuiteConfig:
    """Return what is drawn: the suite's prompts, sampled as `evaluate` says."""
    much, sampling = THOROUGHNESS[thoroughness], plan.evaluate
    return DrawSuiteConfig(
        prompts=suite_prompts(plan.caption, much.categories),
        strengths=much.strengths,
        seeds=much.seeds,
        **sampling.model_dump(include={"steps", "guidance", "size", "batch", "precision"}),
    )


def measures_here(plan: LoraPlan, subject: str) -> EvaluateSuiteConfig:
    """Return what can be measured on this machine, and why the rest cannot."""
    judge = plan.evaluate.judge
    absent = {f"{LIKENESS} {name}": why for name in EMBEDDED_BY if (why := EMBEDDERS.why_lacking(name))}
    absent |= {f"{TEXT} {name}": why for name in TEXT_SCORERS if (why := TEXT_SCORERS.why_lacking(name))}
    without = JUDGES.why_lacking(judge) if judge else "no judge is named under the LoRA's `evaluate.judge`"
    scorers = tuple(name for name in TEXT_SCORERS if f"{TEXT} {name}" not in absent)
    return EvaluateSuiteConfig(
        embedders=tuple(name for name in EMBEDDED_BY if f"{LIKENESS} {name}" not in absent),
        text_scorers=scorers,
        plain=plain_prompts(plan.caption, subject or class_words(plan.caption)) if scorers else {},
        judge=None if without else judge,
        absent=absent | ({FOUND: without} if without else {}),
    )


def keep_uses(workspace: Path, run: RunRecord) -> None:
    """Count the results of an earlier run as this one's too: its report shows them, and cleaning up keeps them."""
    for use in run.stages:
        if Manifest.load(workspace / use.key) is not None:
            note_use(use.model_copy(update={"reused": True, "seconds": 0.0}))
