"""A run that leaves a record and a report, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prefect.artifacts import create_link_artifact
from prefect.context import FlowRunContext

from data_contracts.project import Project
from flows.reports.gallery import PAGE, write_gallery
from flows.reports.report import write_report
from flows.reports.run_card import write_card
from tasks.guard import disk_faults
from tasks.publish import artifact_key
from tasks.run_record import recorded_run


@dataclass
class Report:
    """Where the report of a run is; `path` is known once the run has ended."""

    path: Path = field(default_factory=Path)


@contextmanager
def reported_run(project: Project, what: str) -> Iterator[Report]:
    """Record the stages used inside and write the report afterwards, of a failed run too."""
    report = Report()
    with disk_faults("the run's record", project.workspace):
        project.workspace.mkdir(parents=True, exist_ok=True)
    run = None
    try:
        with recorded_run(project.workspace, project.name) as run:
            yield report
    finally:
        if run is not None:
            with disk_faults("the report", project.workspace):
                title = f"{project.name}: {what}"
                report.path = write_report(project.workspace, run, title)
                write_card(project.workspace, run, title)
                write_gallery(project.workspace)
            publish(report.path, project.name)


def publish(path: Path, name: str) -> None:
    """Show where the report and the gallery are in Prefect's UI."""
    if FlowRunContext.get() is not None:
        key = artifact_key(name)
        create_link_artifact(link=path.as_uri(), link_text=path.name, key=f"{key}-report", description="The report")
        runs = path.parents[2] / PAGE
        create_link_artifact(link=runs.as_uri(), link_text=PAGE, key=f"{key}-gallery", description="All runs")
