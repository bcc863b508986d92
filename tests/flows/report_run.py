"""A run's workspace for the tests of the report, written as the stage engine writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from data_contracts.dataset import Dataset, write_rows
from data_contracts.manifest import Counts
from data_contracts.records import Rejected
from tasks.run_record import RunRecord, StageUse
from tests.finished_stage import finish_stage


class Workspace:
    """Finished stages, and the run that used them."""

    def __init__(self, folder: Path, day: int = 1) -> None:
        self.folder, self.day = folder, day
        started = f"2025-01-{day:02}T12:00:00+00:00"
        self.run = RunRecord(name=f"202501{day:02}-120000-000000", project="harbour", started_at=started)

    def finish(  # noqa: PLR0913  what a stage leaves behind
        self,
        stage: str,
        rows: Dataset | Sequence,
        *,
        parents: Sequence[StageUse] = (),
        label: str = "",
        refused: Sequence[Rejected] = (),
        sheet: Image.Image | None = None,
        reused: bool = False,
        facts: Mapping[str, object] | None = None,
    ) -> StageUse:
        """Write a stage's result and note its use; `facts` are of its manifest."""
        use = self.note(stage, label=label, parents=parents, reused=reused)
        reasons = [row.reason for row in refused]
        counts = Counts(kept=len(rows), rejected={reason: reasons.count(reason) for reason in sorted(set(reasons))})
        shown = {"config": {"every_s": 0.5, "backend": "<b>plain</b>"}, "counts": counts, **(facts or {})}
        folder = finish_stage(self.folder / use.key, list(rows), **shown)
        write_rows(folder / "rejected.parquet", list(refused))
        if sheet is not None:
            sheet.save(folder / "sheet.jpg", format="JPEG", quality=82)
        return use

    def note(self, stage: str, *, label: str = "", parents: Sequence[StageUse] = (), reused: bool = False) -> StageUse:
        """Note the use of a stage, whether or not it has finished."""
        digest = f"{self.day - 1:08x}{len(self.run.stages):08x}"
        keys = tuple(parent.key for parent in parents)
        use = StageUse(stage=stage, label=label, digest=digest, parents=keys, reused=reused, seconds=1.25)
        self.run.stages.append(use)
        return use
