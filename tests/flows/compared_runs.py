"""Two runs in one workspace whose scores are known, for the tests of comparisons and of the gallery."""

from collections.abc import Sequence
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.results import Finding, StackPicture
from flows.comparison.find_run import FoundRun, find_run
from tests.flows.report_run import Workspace
from tests.models.sheet_rows import stack_rows

SEEDS = tuple(range(1, 13))
JUDGED = {"config": {"judge": "world-probe", "steps": 25}}
UNUSED = Path("none.yaml")


def stacked(folder: Path, seeds: Sequence[int] = SEEDS, **shift: float) -> Dataset[StackPicture]:
    """Return a judged composition of luca and run; `shift` is added to how likely a LoRA's subject is shown."""
    rows = stack_rows(folder, ("luca", "run"), tuple(seeds), judged=True)
    return Dataset(StackPicture, folder, [shifted(row, shift) for row in rows])


def shifted(row: StackPicture, shift: dict[str, float]) -> StackPicture:
    """Return a picture with other findings, a little different from seed to seed."""
    findings = tuple(
        Finding(lora=each.lora, probability=0.5 + row.seed / 100 + shift.get(each.lora, 0.0)) for each in row.findings
    )
    return row.model_copy(update={"findings": findings})


def finish_stack(workspace: Workspace, rows: Dataset[StackPicture], **facts: object) -> None:
    """Write a composition test as a run's result, and the run's record."""
    use = workspace.finish("compose_loras", rows, facts={**JUDGED, **facts})
    (workspace.folder / use.key / "files").symlink_to(rows.folder / "files")
    end(workspace)


def end(workspace: Workspace, state: str = "finished") -> None:
    """Record a run as ended."""
    workspace.run.state = state
    workspace.run.save(workspace.folder)


def both(folder: Path) -> tuple[FoundRun, FoundRun]:
    """Return the workspace's two newest runs, the older first."""
    return find_run(f"{folder}:latest~1", UNUSED), find_run(f"{folder}:latest", UNUSED)
