"""The gallery: one page over all runs of a workspace, the newest first, refreshed by every run that ends."""

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from data_contracts.run_card import PICTURE, RunCard, read_card
from flows.reports.pages import page_template, write_page
from flows.reports.run_card import card_of, outcome_of, write_card
from tasks.run_record import RunRecord, latest_runs

PAGE = "gallery.html"


@dataclass(frozen=True)
class Entry:
    """A run on the page; addresses are relative to it, None where nothing is there."""

    card: RunCard
    picture: str | None
    report: str | None
    comparisons: tuple[tuple[str, str], ...]  # name of the other run, address


def write_gallery(workspace: Path) -> Path:
    """Write `gallery.html` of all runs; return its path. Runs that have ended and have no card yet get one."""
    with FileLock(workspace / ".gallery.lock"):  # of two runs that end at once, the later page knows both
        entries = [_entry(workspace, run) for run in latest_runs(workspace)]
        page = page_template("gallery.html.j2").render(name=workspace.name, entries=entries)
        return write_page(page, workspace / PAGE, "gallery")


def cards_of(workspace: Path) -> list[RunCard]:
    """Return the cards of all runs, the newest first."""
    return [kept_card(workspace, run) for run in latest_runs(workspace)]


def kept_card(workspace: Path, run: RunRecord) -> RunCard:
    """Return the card that a run left, or make it; that of a run that is going on, or was killed, is not kept."""
    title = f"{run.project}: {', '.join(labels) if (labels := _labels(run)) else 'run'}"
    if run.state == "running":
        return card_of(outcome_of(workspace, run), run, title)
    return read_card(_folder(workspace, run)) or write_card(workspace, run, title)


def _labels(run: RunRecord) -> list[str]:
    return list(dict.fromkeys(use.label for use in run.stages if use.label))


def _folder(workspace: Path, run: RunRecord) -> Path:
    return workspace / "reports" / run.name


def _entry(workspace: Path, run: RunRecord) -> Entry:
    card, folder = kept_card(workspace, run), _folder(workspace, run)
    address = f"reports/{run.name}"
    pages = sorted(folder.glob("compared-with-*.html"), reverse=True)
    return Entry(
        card=card,
        picture=f"{address}/{PICTURE}" if card.shows and (folder / PICTURE).is_file() else None,
        report=f"{address}/report.html" if (folder / "report.html").is_file() else None,
        comparisons=tuple((page.stem.removeprefix("compared-with-"), f"{address}/{page.name}") for page in pages),
    )
