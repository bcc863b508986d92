"""Commands about data sets: what they are made of, and what a person changes in them."""

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.faults import InputFault
from flows.commands.arguments import Allowed, Changes, Config, allow, parsed, project_workspace


def trace(
    config: Config,
    lora: Annotated[str, typer.Argument(metavar="LORA", help="The name of a LoRA; or give --without.")] = "",
    without: Annotated[
        str, typer.Option(metavar="FILM", help="A film's name, without its ending: what would change without it.")
    ] = "",
) -> None:
    """Say which seconds of which films a LoRA has learnt from; or what has to be built again without a film."""
    from flows.commands.trace import print_trace, print_without  # noqa: PLC0415

    if bool(lora) == bool(without):
        message = "trace: give the name of a LoRA, or --without FILM"
        raise InputFault(message)
    if without:
        print_without(project_workspace(config), without)
    else:
        print_trace(project_workspace(config), lora)


def edit(
    config: Config,
    lora: Annotated[str, typer.Argument(metavar="LORA", help="The name of a LoRA.")],
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="An edited copy of the data set in kohya's form; without it a table opens."),
    ] = None,
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Go over a LoRA's pictures in a table: rewrite captions, turn pictures down. What you change survives every rerun.

    The table (CSV) opens in `$VISUAL` or `$EDITOR`. An empty caption gives the caption back to the pipeline. Texts and
    pictures that you change or delete in the data set's own folder are found by the next run as well.
    """
    allow(allow_folder)
    from data_contracts.project_file import load_project  # noqa: PLC0415
    from flows.commands.decisions import edit_dataset  # noqa: PLC0415

    project = load_project(config, parsed(changes))
    if lora not in project.loras:
        message = f"{lora!r} is not a LoRA of the project; known: {', '.join(project.loras)}"
        raise InputFault(message)
    edit_dataset(project, lora, folder)
