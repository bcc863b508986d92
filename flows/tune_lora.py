"""Better training settings for one LoRA, from trials on the data set that a run has made."""

from pathlib import Path

from prefect import flow

from data_contracts.dataset import read_dataset
from data_contracts.faults import InputFault
from data_contracts.project import Project
from data_contracts.project_file import load_project
from data_contracts.records import Example
from flows.base_model import base_model
from flows.checks.assembled import assembled_folder
from flows.tuning.report import report_search
from flows.tuning.study import Search, search


@flow(name="tune-lora", flow_run_name="{lora}")
def tune_lora(
    config: Path, lora: str, trials: int = 20, patience: int = 10, changes: dict[str, str] | None = None
) -> Path:
    """Search for training settings that denoise held-out pictures better; finished trials are kept.

    Args:
        config: the project file.
        lora: one of the names under its `loras`.
        trials: how many are trained, the preset first.
        patience: trials without gain after which the search ends; 0: never.
        changes: values that replace the file's, by dotted key.

    Returns:
        The picture of the search.

    Raises:
        InputFault: there is no data set of the LoRA as the project has it, or none of it is held out.
    """
    asked = search_of(load_project(config, changes), lora)
    return report_search(asked, search(asked, trials, patience))


def search_of(project: Project, lora: str) -> Search:
    """Return the search of a project's LoRA.

    Raises:
        InputFault: the project has no such LoRA, or no data set of it as it stands.
    """
    if lora not in project.loras:
        message = f"{lora!r} is not a LoRA of the project; known: {', '.join(project.loras)}"
        raise InputFault(message)
    kohya = assembled_folder(project, lora)
    if kohya is None:
        message = f"there is no data set for {lora!r} as the project file has it: reel2lora run CONFIG --lora {lora}"
        raise InputFault(message)
    folder = kohya.parent
    examples = read_dataset(folder, Example)
    place = project.workspace / "tune" / lora
    return Search(project.workspace, place, examples, base_model(project), project.loras[lora].train)
