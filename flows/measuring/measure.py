"""Measure a finished run against the exact truth of its film."""

import operator
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from data_contracts.faults import InputFault
from data_contracts.records import Expression, Identity, Place, Plate, Pose
from flows.measuring.dataset_figures import dataset_figures
from flows.measuring.label_figures import action_figures, expression_figures, identity_figures, place_figures
from flows.measuring.picture_figures import keypoint_figures, mask_figures, plate_figures, shot_figures
from flows.measuring.truth_join import StageResults, TruthJoin
from models.metrics.figure import Figure, Figures
from models.metrics.truth import Truth
from tasks.run_record import RunRecord

REQUIREMENT = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)\s*")
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}

BESIDE_NOTES = 6 + 6 + 7 + 15
"""Columns of text that a value, its direction, its support and the gaps between all five take."""
SHORTEST_NOTE = 8


class Measures(BaseModel):
    """All figures of one run; what the run did not do, or the truth does not show, is absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    film: str
    film_frames_a_picture: int = Field(ge=1, description="for how many film frames each true picture is held")
    frames: int = Field(ge=1, description="sampled film frames that were measured")
    figures: dict[str, Figure]


def measure(workspace: Path, run: RunRecord, truth: Path, film: str = "") -> Measures:
    """Measure every stage of a run that the truth can judge.

    Args:
        workspace: the folder that holds the stages' results
        run: what the run used
        truth: folder with `truth.jsonl`, `masks/` and `plates/`
        film: id of the film that the truth is of; empty for the run's only one

    Raises:
        InputFault: the truth is not of this film, the film must be named, or a result is missing.
    """
    join = TruthJoin(StageResults(workspace, run), Truth(truth), film)
    figures = shot_figures(join) | _layer_figures(join)
    if (plates := join.rows("inpaint_plates", Plate)) is not None:
        figures |= plate_figures(join, plates)
    if (places := join.rows("cluster_places", Place)) is not None:
        figures |= place_figures(join, places)
    figures |= dataset_figures(join)
    return Measures(
        run=run.name, film=join.film, film_frames_a_picture=join.hold, frames=len(join.frames), figures=figures
    )


def _layer_figures(join: TruthJoin) -> Figures:
    """Return the figures of what is known of layers; their truth is the character that they overlap."""
    if join.layers is None:
        return {}
    figures = mask_figures(join)
    if (identities := join.rows("identify_characters", Identity)) is not None:
        figures |= identity_figures(join, identities)
    if (poses := join.rows("estimate_poses", Pose)) is not None:
        figures |= action_figures(join, poses) | keypoint_figures(join, poses)
    if (expressions := join.rows("label_expressions", Expression)) is not None:
        figures |= expression_figures(join, expressions)
    return figures


def print_measures(measures: Measures, console: Console | None = None) -> None:
    """Print the figures as a table, each on one line: notes are cut to the room there is, or left out."""
    console = console or Console()
    longest = max(map(len, measures.figures), default=0)
    room = console.width - longest - BESIDE_NOTES
    noted = room >= SHORTEST_NOTE
    table = Table(
        box=SIMPLE_HEAD,
        title_justify="left",
        title=f"run {measures.run}, film {measures.film}: {measures.frames} frames against the truth",
    )
    table.add_column("figure", min_width=longest)
    table.add_column("value", justify="right", min_width=6)
    table.add_column("better", min_width=6)
    table.add_column("support", justify="right", min_width=7)
    if noted:
        table.add_column("note", no_wrap=True, overflow="ellipsis", max_width=room)
    for name, figure in measures.figures.items():
        note = (figure.note,) if noted else ()
        table.add_row(name, f"{figure.value:.3f}", figure.better, str(figure.support), *note)
    console.print(table)


def check_requirements(measures: Measures, requirements: list[str]) -> list[str]:
    """Return, in words, which requirements such as `shots_f1>=1.0` the figures fail; a missing figure fails.

    Raises:
        InputFault: a requirement is no `NAME>=NUMBER`.
    """
    failures = []
    for requirement in requirements:
        name, relation, bound = _parsed(requirement)
        if (figure := measures.figures.get(name)) is None:
            failures.append(f"{name} was not measured in run {measures.run}, and {requirement} is required")
        elif not RELATIONS[relation](figure.value, bound):
            failures.append(f"{name} is {figure.value:.6g} over {figure.support}, and {requirement} is required")
    return failures


def _parsed(requirement: str) -> tuple[str, str, float]:
    """Return name, relation and bound of a requirement."""
    if (match := REQUIREMENT.fullmatch(requirement)) is None:
        message = f"requirement {requirement!r} cannot be read: write a figure's name, one of "
        message += f"{' '.join(RELATIONS)}, and a number, such as shots_f1>=1.0"
        raise InputFault(message)
    name, relation, bound = match.groups()
    return name, relation, float(bound)
