"""What several commands are given."""

import os
from pathlib import Path
from typing import Annotated

import typer

from data_contracts.faults import InputFault

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A project file, such as configs/luca.yaml.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a value of the project file, such as loras.luca.train.steps=300; repeatable.",
    ),
]
Allowed = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-folder",
        metavar="FOLDER",
        help="A folder outside the project's own that paths of the project file may point into; repeatable.",
    ),
]


def allow(folders: list[Path] | None) -> None:
    """Let the project's paths point into `folders`, in this process and its children."""
    from data_contracts.project_paths import ALLOW_VARIABLE  # noqa: PLC0415

    if folders:
        old = os.environ.get(ALLOW_VARIABLE, "").split(os.pathsep)
        os.environ[ALLOW_VARIABLE] = os.pathsep.join(filter(None, [*old, *(str(f.resolve()) for f in folders)]))


def project_workspace(config: Path) -> Path:
    """Return the workspace of a project file."""
    from data_contracts.project_file import workspace_of  # noqa: PLC0415

    return workspace_of(config)


def parsed(changes: list[str] | None) -> dict[str, str]:
    """Return `KEY=VALUE` texts as a mapping."""
    pairs = [change.partition("=") for change in changes or []]
    for key, equals, value in pairs:
        if not key or not equals:
            message = f"--set {key}{equals}{value}: should be KEY=VALUE, such as loras.luca.train.steps=300"
            raise InputFault(message)
    return {key: value for key, _, value in pairs}
