"""Looking at runs, and taking results away: status, show, rerun and clean."""

import os
import shutil
import textwrap
from pathlib import Path

import yaml
from filelock import Timeout
from rich.console import Console
from rich.table import Table

from data_contracts.dataset import read_rows
from data_contracts.faults import InputFault, StageFault
from data_contracts.manifest import Manifest
from data_contracts.records import Rejected
from flows.reports.gallery import write_gallery
from tasks.guard import lock_of
from tasks.run_record import RunRecord, StageUse, latest_runs
from tasks.shards import journal_of

console = Console()


def latest_run(workspace: Path) -> RunRecord:
    """Return the newest run.

    Raises:
        InputFault: there has been none.
    """
    runs = latest_runs(workspace)
    if not runs:
        message = f"workspace {workspace.name!r} holds no run yet: start one with `reel2lora run CONFIG`"
        raise InputFault(message)
    return runs[0]


def uses_of(run: RunRecord, stage: str) -> list[StageUse]:
    """Return a run's uses of a stage.

    Raises:
        InputFault: the run has not used it.
    """
    found = [use for use in run.stages if use.stage == stage]
    if not found:
        known = ", ".join(dict.fromkeys(use.stage for use in run.stages)) or "none yet"
        message = f"the latest run has no stage {stage!r}; it has: {known}"
        raise InputFault(message)
    return found


def print_status(workspace: Path) -> None:
    """Print the latest run's stages, and results that were begun but not finished."""
    run = latest_run(workspace)
    table = Table(
        "stage", "for", "kept", "refused", "work s", "this run", title=f"{run.project}, {run.name}: {run.state}"
    )
    for use in run.stages:
        if (manifest := Manifest.load(workspace / use.key)) is None:
            table.add_row(use.stage, use.label, "", "", "", "deleted since")
            continue
        refused = sum(manifest.counts.rejected.values())
        how = "reused" if use.reused else f"{use.seconds:.1f} s"
        table.add_row(use.stage, use.label, str(manifest.counts.kept), str(refused), f"{manifest.seconds:.1f}", how)
    console.print(table)
    for folder in results_in(workspace):
        if Manifest.load(folder) is None:
            shards = len([p for p in (folder / "parts").glob("*.parquet") if "rejected" not in p.name])
            done = f"{folder.parent.name}, {shards} shards done"
            running = being_computed(folder)
            console.print(f"being computed: {done}" if running else f"unfinished: {done}; a run goes on from there")
    if run.error:
        console.print(f"[red]ended with:[/red] {run.error}")
    if (workspace / "report.html").is_file():
        print(f"report: {os.path.relpath(workspace / 'report.html')}")


def being_computed(folder: Path) -> bool:
    """Tell whether a living run is computing a result."""
    try:
        with lock_of(folder).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a workspace that may be read only
        return False


def print_stage(workspace: Path, stage: str) -> None:
    """Print what a stage kept and refused, with the numbers that decided."""
    for use in uses_of(latest_run(workspace), stage):
        folder = workspace / use.key
        if (manifest := Manifest.load(folder)) is None:
            message = f"{use.key} has been deleted since; run the project again"
            raise InputFault(message)
        console.print(
            f"[bold]{stage}[/bold] {use.label}  {manifest.counts.kept} {manifest.record}, {manifest.seconds:.1f} s"
        )
        rejected = read_rows(folder / "rejected.parquet", Rejected)
        for reason, count in manifest.counts.rejected.items():
            values = [row.value for row in rejected if row.reason == reason and row.value is not None]
            span = f" ({min(values):.4g} .. {max(values):.4g})" if values else ""
            console.print(f"  refused {count} for {reason}{span}")
        settings = yaml.safe_dump(manifest.config, sort_keys=False, width=100, allow_unicode=True).rstrip()
        print(textwrap.indent(settings, "  "))
        if (folder / "sheet.jpg").is_file():
            print(f"  contact sheet: {os.path.relpath(folder / 'sheet.jpg')}")


def drop_stage(workspace: Path, stage: str, label: str = "") -> list[str]:
    """Delete a stage's results of the latest run and everything made from them; return their keys.

    Older results that share a shard with them go too, or the stage would take it over from there.

    Raises:
        StageFault: one of them is being computed right now.
    """
    run = latest_run(workspace)
    dropped = {use.key for use in uses_of(run, stage) if not label or use.label == label}
    while more := {use.key for use in run.stages if dropped & set(use.parents)} - dropped:
        dropped |= more
    dropped |= {key for each in dropped for key in sharing_shards(workspace, each)}
    for key in sorted(dropped):
        delete_result(workspace / key)
    return sorted(dropped)


def sharing_shards(workspace: Path, key: str) -> set[str]:
    """Return the results that have a shard in common with `key`: it would be taken over from them, not computed."""
    digests = {entry.get("digest") for entry in journal_of(workspace / key)} - {None}
    stage = workspace / key.split("/", maxsplit=1)[0]
    return {
        f"{stage.name}/{folder.name}"
        for folder in stage.glob("*")
        if digests & {entry.get("digest") for entry in journal_of(folder)}
    }


def clean_workspace(workspace: Path, *, keep_last: bool) -> int:
    """Delete results; return the bytes freed.

    Args:
        workspace: of the project.
        keep_last: keep the results of the latest run that finished.
    """
    runs = latest_runs(workspace)
    kept: set[str] = set()
    if keep_last:
        last = next((run for run in runs if run.state == "finished"), None)
        if last is None:
            message = (
                f"no run of {workspace.name!r} has finished yet, so there is nothing to keep: run the project first"
            )
            raise InputFault(message)
        kept = {use.key for use in last.stages}
        runs = [run for run in runs if run.name != last.name]
    freed = 0
    for folder in results_in(workspace):
        if f"{folder.parent.name}/{folder.name}" not in kept:
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            delete_result(folder)
    for run in runs:
        (workspace / "runs" / f"{run.name}.json").unlink(missing_ok=True)
        shutil.rmtree(workspace / "reports" / run.name, ignore_errors=True)
    if workspace.is_dir():
        write_gallery(workspace)
    return freed


def delete_result(folder: Path) -> None:
    """Delete one result; its manifest goes first, so that nobody takes a half-deleted result for a finished one.

    Raises:
        StageFault: it is being computed right now.
    """
    if not folder.is_dir():
        return
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        message = f"{folder.parent.name} is being computed by another run: wait for it, or stop it, then try again"
        raise StageFault(message) from error
    try:
        (folder / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
    finally:
        lock.release()


def results_in(workspace: Path) -> list[Path]:
    """Return the folders of all results, finished or not."""
    return sorted(path.parent for path in workspace.glob("*/*/files") if path.is_dir())
