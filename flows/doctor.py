"""Say whether everything is here that the project needs: `reel2lora doctor`."""

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_contracts.faults import StageFault
from data_contracts.project_file import load_project
from flows.serving import api_url, is_up
from models.weights import MissingWeights
from tasks.backends import load_backends

CONFLICTS = {"torchvision": "breaks imports beside a CPU build of torch: pip uninstall torchvision"}


def print_doctor(config: Path) -> None:
    """Print a line for each thing the project needs.

    Raises:
        StageFault: something is missing.
    """
    project = load_project(config)
    table = Table("what", "state", "remedy", title=f"{project.name}, profile {project.profile}")
    faults = 0
    for key, load in load_backends(project).items():
        try:
            load()
            table.add_row(key, "[green]loads[/green]", "")
        except (MissingWeights, ValueError) as error:
            faults += 1
            table.add_row(key, "[red]missing[/red]", str(error))
    base = project.base.name if project.base else "lite, comes with reel2lora: 128x128, the sample film's world only"
    table.add_row("base model", base, "")
    for package, remedy in CONFLICTS.items():
        if installed(package) and "+cpu" in (installed("torch") or ""):
            faults += 1
            table.add_row(package, "[red]in the way[/red]", remedy)
    folder = next(path for path in (project.workspace, *project.workspace.parents) if path.exists())
    table.add_row("disk", f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free", "")
    server = "running" if is_up(api_url()) else "not running; `reel2lora run` brings its own, `reel2lora up` starts one"
    table.add_row("Prefect's server", server, "")
    Console().print(table)
    if faults:
        message = f"{faults} of the things that {project.name} needs are not in order; remedies are in the table"
        raise StageFault(message)


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
