"""Finding a run by what a person types: its name or a beginning of it, `latest`, or `WHERE:NAME` for elsewhere."""

import re
from dataclasses import dataclass
from pathlib import Path

from data_contracts.faults import InputFault
from data_contracts.project_file import workspace_of
from tasks.run_record import RunRecord, latest_runs

LATEST = re.compile(r"latest(?:~(\d+))?")
MOST_NAMED = 6


@dataclass(frozen=True)
class FoundRun:
    """A run, and the workspace that holds its results."""

    workspace: Path
    record: RunRecord


def find_run(text: str, config: Path) -> FoundRun:
    """Return the run that `text` names.

    Args:
        text: a run's name, the beginning of one only, `latest`, or `latest~2`, the second before it; a project file or
            a workspace's folder and a colon in front of it look there.
        config: the project file where `text` names none.

    Raises:
        InputFault: there is no such run, more than one, or no such place.
    """
    where, _, name = text.rpartition(":")
    workspace = workspace_at(where) if where else workspace_of(config)
    runs = latest_runs(workspace)
    if not runs:
        message = f"{text}: workspace {workspace.name!r} holds no run yet: start one with `reel2lora run CONFIG`"
        raise InputFault(message)
    if match := LATEST.fullmatch(name):
        found = runs[int(match[1] or 0) :][:1]
    else:
        found = [run for run in runs if name and run.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join(run.name for run in (found or runs)[:MOST_NAMED])
        more = len(found or runs) - MOST_NAMED
        rule = f"{len(found)} runs begin so" if found else f"workspace {workspace.name!r} has no such run"
        message = f"{text}: {rule}; give one of: {known}" + (f" and {more} older ones" if more > 0 else "")
        raise InputFault(message)
    return FoundRun(workspace, found[0])


def workspace_at(where: str) -> Path:
    """Return the workspace that a project file's path, or a workspace's own, stands for.

    Raises:
        InputFault: nothing is there, or the folder is no workspace.
    """
    path = Path(where)
    if not path.is_dir():
        return workspace_of(path)
    if not (path / "runs").is_dir():
        message = f"{where}: the folder is no workspace, it has no runs/; give a project file or a workspace's folder"
        raise InputFault(message)
    return path.resolve()
