"""What one run used: which result of which stage, computed or reused. Kept as `<workspace>/runs/<name>.json`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.dataset import Dataset, R, read_dataset
from data_contracts.manifest import Manifest
from data_contracts.whole_file import whole_file


class StageUse(BaseModel):
    """One stage of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    label: str = Field(description="what it was for, such as the LoRA's name; empty for the shared stages")
    digest: str
    parents: tuple[str, ...] = Field(description="`stage/digest` of the datasets that went in")
    reused: bool
    seconds: float = Field(ge=0, description="this run's time; reading a reused result counts too")

    @property
    def key(self) -> str:
        """The result's folder below the workspace."""
        return f"{self.stage}/{self.digest}"


class RunRecord(BaseModel):
    """All stages that a run has used so far."""

    model_config = ConfigDict(extra="forbid")

    name: str
    project: str
    started_at: str
    state: Literal["running", "finished", "failed"] = "running"
    error: str = ""
    stages: list[StageUse] = Field(default_factory=list)

    def finished(self, workspace: Path, stage: str, label: str | None = None) -> StageUse | None:
        """Return the run's first use of a stage, for `label` or for anything, whose result still stands."""
        of_stage = (use for use in self.stages if use.stage == stage and label in {None, use.label})
        return next((use for use in of_stage if Manifest.load(workspace / use.key) is not None), None)

    def save(self, workspace: Path) -> Path:
        """Write the record, beside and renamed; return its path."""
        path = workspace / "runs" / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            beside.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path


_current: ContextVar[tuple[RunRecord, Path] | None] = ContextVar("run_record", default=None)
_label: ContextVar[str] = ContextVar("label", default="")


@contextmanager
def recorded_run(workspace: Path, project: str) -> Iterator[RunRecord]:
    """Record the stages that are used inside; a run within a run joins the outer one."""
    if (current := _current.get()) is not None:
        yield current[0]
        return
    now = datetime.now(UTC)
    record = RunRecord(name=now.strftime("%Y%m%d-%H%M%S-%f"), project=project, started_at=now.isoformat())
    record.save(workspace)
    token = _current.set((record, workspace))
    try:
        yield record
        record.state = "finished"
    except BaseException as error:
        record.state, record.error = "failed", str(error)
        raise
    finally:
        _current.reset(token)
        record.save(workspace)


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Name what the stages inside are for."""
    token = _label.set(label)
    try:
        yield
    finally:
        _label.reset(token)


def current_label() -> str:
    """Return what the running stage is for; empty for stages that serve all LoRAs."""
    return _label.get()


def note_use(use: StageUse) -> None:
    """Add a stage to the current run, where there is one."""
    if (current := _current.get()) is None:
        return
    record, workspace = current
    if not any(old.key == use.key and old.label == use.label for old in record.stages):
        record.stages.append(use)
        record.save(workspace)


def latest_runs(workspace: Path) -> list[RunRecord]:
    """Return the workspace's runs, newest first."""
    paths = sorted((workspace / "runs").glob("*.json"), reverse=True)
    return [RunRecord.model_validate_json(path.read_text(encoding="utf-8")) for path in paths]


def newest_use(workspace: Path, stage: str, label: str | None = None) -> StageUse | None:
    """Return the newest run's use of a stage, for `label` or for anything, whose result still stands."""
    uses = (run.finished(workspace, stage, label) for run in latest_runs(workspace))
    return next((use for use in uses if use is not None), None)


def result_of(workspace: Path, use: StageUse, record: type[R]) -> Dataset[R]:
    """Return the result that a run used."""
    return read_dataset(workspace / use.key, record)
