"""A LoRA's data set for another trainer."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_contracts.faults import InputFault, StageFault
from flows.commands.arguments import Config, project_workspace

if TYPE_CHECKING:
    from data_contracts.exports import ExportSettings


def export(
    config: Config,
    lora: Annotated[str, typer.Argument(metavar="LORA", help="The name of a LoRA.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT", help="kohya, diffusers, ai-toolkit, onetrainer, simpletuner or qwen-edit (edit pairs)."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; without it, one in the workspace's exports/.")
    ] = None,
) -> None:
    """Write a LoRA's data set as another trainer reads it, and read it back to prove it.

    The folder can be moved: no path in it is absolute. Its README.txt holds the trainer's command line.
    """
    workspace = project_workspace(config)
    folder = export_lora(workspace, lora, to, out or workspace / "exports" / f"{lora}-{to}")
    print(f"exported for {to}: {os.path.relpath(folder)}; its README.txt says how to train with it")


def export_lora(workspace: Path, lora: str, to: str, folder: Path) -> Path:
    """Write the newest data set of a LoRA into `folder`, in the format called `to`; return the folder.

    Raises:
        InputFault: there is no data set of this LoRA, no such format, or the folder holds something else.
        StageFault: it could not be written, or read back differs.
    """
    from data_contracts.exports import items_of  # noqa: PLC0415
    from flows.commands.trace import latest_examples  # noqa: PLC0415
    from models.exports.folder import export_dataset  # noqa: PLC0415

    examples = latest_examples(workspace, lora)
    if examples is None:
        message = f"no data set of a LoRA called {lora!r} is in the workspace: reel2lora run CONFIG --lora {lora}"
        raise InputFault(message)
    items = items_of(examples.folder / "files", examples)
    try:
        return export_dataset(to, items, folder, settings_of(workspace, lora, examples.folder))
    except OSError as error:
        message = f"{folder.name} could not be written ({error.strerror}) and holds nothing of this export: "
        raise StageFault(message + "free some space, or name another folder with --out") from error


def settings_of(workspace: Path, lora: str, dataset: Path) -> "ExportSettings":
    """Return what the run that made a data set says of it as a whole.

    Raises:
        InputFault: parts of that run are gone.
    """
    from data_contracts.exports import ExportSettings  # noqa: PLC0415
    from data_contracts.manifest import Manifest  # noqa: PLC0415
    from tasks.run_record import latest_runs  # noqa: PLC0415

    made_by = [run for run in latest_runs(workspace) if any(workspace / use.key == dataset for use in run.stages)]
    uses = [use for run in made_by for use in run.stages if use.label == lora]
    known: dict[str, object] = {}
    for manifest in filter(None, (Manifest.load(workspace / use.key) for use in uses)):
        known = {**manifest.config, **known}
    if made := Manifest.load(dataset):
        known.update(made.config)
    if not {"trigger", "resolution"} <= set(known):
        message = f"parts of the run that made the data set of {lora!r} are gone: reel2lora run CONFIG --lora {lora}"
        raise InputFault(message)
    return ExportSettings.model_validate({"name": lora, "trigger": known["trigger"], "resolution": known["resolution"]})
