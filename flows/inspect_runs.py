"""Looking at runs, and taking results away: status, show, trace, rerun and clean."""

import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from data_contracts.dataset import read_rows
from data_contracts.faults import InputFault, StageFault
from data_contracts.manifest import Manifest
from data_contracts.records import Example, Frame, Rejected
from tasks.run_record import RunRecord, StageUse, latest_runs

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
            console.print(f"unfinished: {folder.parent.name}, {shards} shards done; a run goes on from there")
    if run.error:
        console.print(f"[red]ended with:[/red] {run.error}")
    if (workspace / "report.html").is_file():
        console.print(f"report: {workspace.name}/report.html")


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
        console.print(f"  {json.dumps(manifest.config)}", soft_wrap=True)
        if (folder / "sheet.jpg").is_file():
            console.print(f"  contact sheet: {workspace.name}/{use.key}/sheet.jpg")


def print_trace(workspace: Path, lora: str) -> None:
    """Print the films, seconds and frames that a LoRA has learnt from."""
    for run in latest_runs(workspace):
        sets = [use for use in run.stages if use.stage == "assemble_dataset" and use.label == lora]
        frames = [use for use in run.stages if use.stage == "extract_frames"]
        if sets and frames and (workspace / sets[0].key / "records.parquet").is_file():
            examples = read_rows(workspace / sets[0].key / "records.parquet", Example)
            shots = {frame.shot: frame for frame in read_rows(workspace / frames[0].key / "records.parquet", Frame)}
            break
    else:
        message = f"no run has made a LoRA called {lora!r}: see `reel2lora status`"
        raise InputFault(message)
    table = Table("film", "shot", "from s", "to s", "frames learnt from", "pictures", title=f"{lora} has learnt from")
    learnt = [example for example in examples if example.split == "train"]
    for shot in sorted({example.shot for example in learnt}):
        rows = [example for example in learnt if example.shot == shot]
        numbers = sorted({row.frame for row in rows})
        times = [row.time_s for row in rows]
        spans = ", ".join(map(str, numbers[:12])) + (" …" if len(numbers) > 12 else "")  # noqa: PLR2004
        table.add_row(shots[shot].film, shot, f"{min(times):.2f}", f"{max(times):.2f}", spans, str(len(rows)))
    console.print(table)
    held = len(examples) - len(learnt)
    console.print(f"{len(learnt)} pictures of {len({e.frame for e in learnt})} frames; {held} pictures are held out.")


def drop_stage(workspace: Path, stage: str, label: str = "") -> list[str]:
    """Delete a stage's results of the latest run and everything made from them; return their keys.

    Raises:
        StageFault: one of them is being computed right now.
    """
    run = latest_run(workspace)
    dropped = {use.key for use in uses_of(run, stage) if not label or use.label == label}
    while more := {use.key for use in run.stages if dropped & set(use.parents)} - dropped:
        dropped |= more
    for key in sorted(dropped):
        delete_result(workspace / key)
    return sorted(dropped)


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
    return freed


def delete_result(folder: Path) -> None:
    """Delete one result; its manifest goes first, so that nobody takes a half-deleted result for a finished one.

    Raises:
        StageFault: it is being computed right now.
    """
    if not folder.is_dir():
        return
    lock = FileLock(folder / ".lock")
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
