"""The command that searches for better training settings."""

import os
from typing import Annotated

import typer

from flows.commands.arguments import Allowed, Changes, Config, allow, parsed
from flows.commands.server import use_prefect


def tune(
    config: Config,
    lora: Annotated[str, typer.Argument(metavar="LORA", help="The name of a LoRA whose data set a run has made.")],
    trials: Annotated[int, typer.Option(min=1, help="Trainings; the first is the project's own preset.")] = 20,
    patience: Annotated[int, typer.Option(min=0, help="End after so many trials without gain; 0: never.")] = 10,
    changes: Changes = None,
    allow_folder: Allowed = None,
) -> None:
    """Search for training settings that suit a LoRA better: rates, rank, alpha, dropout, warm-up.

    Trials are compared by their loss on held-out pictures, always at the same noise; those that fall behind are ended
    early. A search that was stopped goes on where it was. What is found is written as YAML, and its LoRA is kept.
    """
    allow(allow_folder)
    values = parsed(changes)

    with use_prefect():
        from flows.tune_lora import tune_lora  # noqa: PLC0415  Prefect looks for its server when it is imported

        picture = tune_lora(config.resolve(), lora, trials, patience, values)
    print(f"picture: {os.path.relpath(picture)}")
