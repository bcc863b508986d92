"""All runs of a workspace at a glance, from the command line."""

import os
from typing import TYPE_CHECKING

from flows.commands.arguments import Config, project_workspace

if TYPE_CHECKING:
    from data_contracts.run_card import RunCard


def gallery(config: Config) -> None:
    """List all runs, and write the page that shows each with its pictures, its key figures and its report.

    Every run that ends refreshes the page; this does so in between. The names are those that `compare` takes.
    """
    from flows.commands.inspect_runs import latest_run  # noqa: PLC0415
    from flows.reports.gallery import cards_of, write_gallery  # noqa: PLC0415

    workspace = project_workspace(config)
    latest_run(workspace)  # none is said as by the other commands
    page = write_gallery(workspace)
    print_cards(cards_of(workspace))
    print(f"gallery: {os.path.relpath(page)}")


def print_cards(cards: list["RunCard"]) -> None:
    """Print a line for each run."""
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for name in ("run", "what", "state", "LoRAs", "all found at once", "time"):
        table.add_column(name, no_wrap=name == "run", overflow="fold")  # `compare` takes the run's name
    for card in cards:
        figures = (card.figures.get(name, "") for name in ("LoRAs", "all found at once", "time"))
        table.add_row(card.run, escape(card.title), card.state, *figures)
    Console().print(table)
