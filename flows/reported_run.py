"""A run that leaves a record and a report, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from data_contracts.project import Project
from data_contracts.run_card import PICTURE, RunCard
from flows.reports.gallery import write_gallery
from flows.reports.report import write_report
from flows.reports.run_card import write_card
from tasks.guard import disk_faults
from tasks.progress import logger
from tasks.publish import artifact_key, small_jpeg
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
                card = write_card(project.workspace, run, title)
                gallery = write_gallery(project.workspace)
            publish(card, report.path, gallery, project.name)


def publish(card: RunCard, path: Path, gallery: Path, name: str) -> None:
    """Show what came out in Prefect's UI, and where the report and the gallery are."""
    context = FlowRunContext.get()
    if context is None:
        return
    if context.flow_run and context.flow_run.deployment_id:  # else the command line says so
        logger.info("report: %s", path)
    text = markdown(card, path, gallery)
    create_markdown_artifact(key=f"{artifact_key(name)}-report", markdown=text, description=f"{card.title}: the report")


def markdown(card: RunCard, path: Path, gallery: Path) -> str:
    """Return a run's card as Markdown; pages are named, not linked: a browser opens no files from a server's page."""
    lines = [f"## {card.title}", *([f"**{card.state}:** {card.error}", ""] if card.error else [])]
    lines += [f"* {line[:1].upper()}{line[1:]}" for line in card.words]
    lines += [
        "",
        f"| run | {card.run} |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in card.figures.items()),
    ]
    lines += [f"| report | `{path}` |", f"| all runs | `{gallery}` |", ""]
    if card.shows and (picture := path.with_name(PICTURE)).is_file():
        lines.append(f"![{card.shows}](data:image/jpeg;base64,{small_jpeg(picture)})")
    return "\n".join(lines)
