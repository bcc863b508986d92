"""Film in, all LoRAs of the project and their composition test out."""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from data_contracts.project_file import load_project
from flows.base_model import base_model
from flows.checks.preflight import preflight
from flows.film_facts import see_cast, see_scenery
from flows.lora_steps import make_lora, needs_cast
from flows.reported_run import reported_run
from flows.stack_loras import stack_made


def named_by_project() -> str:
    """Return the run's name in Prefect's UI: the project file's, without its folder."""
    return Path(flow_run.parameters["config"]).stem


@flow(name="build-all", flow_run_name=named_by_project)
def build_all(config: Path, changes: dict[str, str] | None = None) -> Path:
    """Build every LoRA of a project, stack them, and write the report; finished stages are reused.

    Args:
        config: the project file.
        changes: values that replace the file's, by dotted key.

    Returns:
        The report.
    """
    project = load_project(config, changes)
    preflight(project, list(project.loras))
    with reported_run(project, "all") as report:
        base = base_model(project)
        scenery = see_scenery(project)
        cast = see_cast(project, scenery) if any(map(needs_cast, project.loras.values())) else None
        made = tuple(make_lora(project, name, base, scenery, cast) for name in project.loras)
        stack_made(project, made, base)
    return report.path
