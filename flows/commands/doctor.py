"""Say whether everything is here that the project needs: `reel2lora doctor`."""

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from data_contracts.faults import InputFault, StageFault
from data_contracts.project import Project
from data_contracts.project_file import load_project
from flows.base_model import base_model
from flows.checks.memory_faults import base_faults
from flows.serving import api_url, is_up
from models.backends import why_missing
from models.diffusion.single_file import configuration_of
from models.trainers import kohya_home
from models.weights import MissingWeights, Need, fetcher
from tasks.backends import PLACES, trouble_of

CONFLICTS = {"torchvision": "breaks imports beside a CPU build of torch: pip uninstall torchvision"}


def print_doctor(config: Path, *, everything: bool, fetch: bool) -> None:
    """Print a line for each thing the project needs; first fetch what it lacks, where that is asked for.

    Raises:
        StageFault: something is missing.
    """
    project = load_project(config)
    if fetch:
        fetch_missing(project)
    table = Table("what", "state", "remedy", title=f"{project.name}, profile {project.profile}")
    faults = 0
    with Console(stderr=True).status("loading what the project names"):
        for key, name, trouble in backend_states(project):
            faults += bool(trouble)
            state = "[red]missing[/red]" if trouble else "[green]loads[/green]"
            table.add_row(key, f"{name} {state}", Text(trouble))
    base, trouble = base_state(project)
    faults += bool(trouble)
    table.add_row("base model", f"[red]{base}[/red]" if trouble else base, Text(trouble))
    for package, remedy in CONFLICTS.items():
        if installed(package) and "+cpu" in (installed("torch") or ""):
            faults += 1
            table.add_row(package, "[red]in the way[/red]", remedy)
    folder = next(path for path in (project.workspace, *project.workspace.parents) if path.exists())
    table.add_row("disk", f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free", "")
    server = "running" if is_up(api_url()) else "not running; `reel2lora run` brings its own, `reel2lora up` starts one"
    table.add_row("Prefect's server", server, "")
    Console().print(table)
    if everything:
        Console().print(backends_table(project))
    if faults:
        message = f"{faults} of the things that {project.name} needs are not in order; remedies are in the table"
        raise StageFault(message)
    print(f"all that {project.name} needs is here: reel2lora run {os.path.relpath(config)}")


def backend_states(project: Project) -> Iterator[tuple[str, str, str]]:
    """Yield each key that names a backend, the backend, and what keeps it from loading, empty where nothing does."""
    for key, place in PLACES.items():
        for name in place.named(project):
            yield key, name, trouble_of(partial(place.load, name, project))


def set_up(trainer: str) -> None:
    """Make the Python environment of a trainer that needs one of its own.

    Raises:
        InputFault: no such trainer has one.
        StageFault: it could not be made; the message says which command failed, and how.
    """
    if trainer != "kohya":
        message = f"--setup {trainer}: no trainer of that name has an environment of its own; known: kohya"
        raise InputFault(message)
    try:
        python = kohya_home.set_up(print)
    except MissingWeights as error:
        raise StageFault(str(error)) from error
    print(f"kohya's sd-scripts are ready; they run under {python}")


def backends_table(project: Project) -> Table:
    """Return all backends with what each needs: its licence, its size, whether it is here, how it comes here."""
    table = Table("key", "backend", "needs", "licence", "MB", "here", "how it comes here", title="all backends")
    for key, place in PLACES.items():
        named = place.named(project)
        for name, backend in place.backends.items():
            shown = f"[bold]{name}[/bold] (this project's)" if name in named else name
            for need in backend.needs:
                here = not why_missing(need)
                state, command = ("[green]yes[/green]", "") if here else ("[yellow]no[/yellow]", need.command)
                size = f"{need.megabytes:g}" if need.megabytes else ""
                table.add_row(key, shown, need.name, need.licence, size, state, command)
            if not backend.needs:
                table.add_row(key, shown, "nothing", "", "", "[green]yes[/green]", "")
    return table


def fetch_missing(project: Project) -> None:
    """Fetch the weights that the project's backends lack; packages stay the package manager's.

    What does not come is said, and stays missing; the others are fetched nevertheless.
    """
    missing = [
        (need, fetch) for need in dict.fromkeys(needs_of(project)) if (fetch := fetcher(need)) and why_missing(need)
    ]
    for need, fetch in track(missing, "fetching"):
        print(f"{need.name}, {need.megabytes:g} MB, {need.licence}")
        try:
            fetch()
        except MissingWeights as error:
            print(error, file=sys.stderr)


def needs_of(project: Project) -> Iterator[Need]:
    """Yield what the project's backends need."""
    for place in PLACES.values():
        for name in place.named(project):
            yield from place.backends[name].needs
    if (configuration := configuration_of(base_model(project))) is not None:
        yield configuration


def base_state(project: Project) -> tuple[str, str]:
    """Return what the project's base model is, and what keeps it from being read, empty where nothing does."""
    if project.base is None:
        return "lite, comes with reel2lora: 128x128, the sample film's world only", ""
    faults = base_faults(project.base)
    return project.base.name, faults[0].value if faults else ""


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
