"""Film in, one LoRA out: the whole pipeline on one page."""

from pathlib import Path

from prefect import flow

from data_contracts.project_file import load_project
from flows.base_model import base_model
from flows.checks.preflight import preflight
from flows.film_facts import see_cast, see_scenery
from flows.lora_steps import make_lora, needs_cast
from flows.reported_run import reported_run


@flow(name="build-lora", flow_run_name="{lora}")
def build_lora(config: Path, lora: str, changes: dict[str, str] | None = None) -> Path:
    """Build one LoRA of a project; a stage already finished with these inputs is reused.

    Args:
        config: the project file.
        lora: one of the names under its `loras`.
        changes: values that replace the file's, by dotted key, such as {"loras.luca.train.steps": "300"}.

    Returns:
        The report.
    """
    project = load_project(config, changes)
    preflight(project, [lora])
    with reported_run(project, lora) as report:
        base = base_model(project)
        scenery = see_scenery(project)
        cast = see_cast(project, scenery) if needs_cast(project.loras[lora]) else None
        make_lora(project, lora, base, scenery, cast)
    return report.path
