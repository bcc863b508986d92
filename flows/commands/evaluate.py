"""A trained LoRA's worth, in a table: the evaluation suite from the command line."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.arguments import Allowed, Changes, Config, allow, parsed
from flows.commands.server import use_prefect

if TYPE_CHECKING:
    from models.suite.summary import SuiteSummary


class Thoroughness(StrEnum):
    """How much of the suite is drawn."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


def evaluate(
    config: Config,
    lora: Annotated[str, typer.Argument(metavar="LORA", help="The name of a LoRA that a run has trained.")],
    thoroughness: Annotated[
        Thoroughness,
        typer.Option(help="Pictures at each strength: quick 20 at 1, standard 135 at 3, thorough 225 at 5 strengths."),
    ] = Thoroughness.STANDARD,
    subject: Annotated[
        str,
        typer.Option(metavar="WORDS", help="What the trigger stands for, such as `a boy`; else as the project says."),
    ] = "",
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Draw a LoRA's evaluation suite and say what it changes: likeness, prompts, diversity, copies, by strength.

    The same prompts and seeds without the LoRA are the yardstick. A run that was stopped goes on where it was.
    """
    allow(allow_folder)
    values = parsed(changes)
    from data_contracts.project_file import load_project  # noqa: PLC0415
    from models.suite.summary import read_summary  # noqa: PLC0415
    from models.suite.words import FILE  # noqa: PLC0415

    project = load_project(config, values)
    with use_prefect():
        from flows.evaluate_suite import evaluate_in_suite, newest_trained  # noqa: PLC0415  Prefect looks for its server

        newest_trained(project, lora)
        done = evaluate_in_suite(config.resolve(), lora, thoroughness.value, subject, values)
    print_summary(read_summary(done.folder))
    print(f"summary: {os.path.relpath(done.folder / FILE)}")
    print(f"report: {os.path.relpath(done.report)}")


def print_summary(summary: "SuiteSummary") -> None:
    """Print the table by category and strength, the sentences, and what could not be measured."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from models.suite.summary import DISTANCE, SHARPNESS  # noqa: PLC0415
    from models.suite.words import sentence, shown  # noqa: PLC0415

    console = Console()
    measures = [measure for measure in summary.measures if measure not in {SHARPNESS, DISTANCE}]  # the page has them
    table = Table(title=f"{summary.lora}, and in brackets the difference to the base")
    for name in ("category", "strength", *measures):
        heading = name.replace("+", " +")  # embedders in one, which a narrow terminal breaks there
        table.add_column(heading, overflow="fold", min_width=min(len(name), len("0.645 (+0.011)")))
    for before, cell in zip((None, *summary.cells), summary.cells, strict=False):
        if before is not None and before.category != cell.category:
            table.add_section()
        effects = (cell.effect(measure) for measure in measures)
        table.add_row(cell.category, f"{cell.strength:g}", *(shown(effect) if effect else "" for effect in effects))
    console.print(table)
    for cell in summary.overall:
        console.print(sentence(cell), soft_wrap=True, highlight=False)
    for measure, why in summary.absent.items():
        console.print(f"not measured: {measure}: {why}", soft_wrap=True, highlight=False)
