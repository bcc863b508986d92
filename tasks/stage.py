"""The stage engine: what turns a plain generator of rows into a resumable, recorded step of the graph.

A body yields rows, or `Rejected` with the reason; it never touches digests, reuse, shards, locks, manifests, progress
or Prefect. Those are this file's, and only this file's. Outside a flow a stage is an ordinary function call.
"""

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from data_contracts.config import StageConfig
from data_contracts.dataset import Dataset, read_dataset, read_rows, write_rows
from data_contracts.digest import content_of, digest_of
from data_contracts.manifest import Counts, Manifest
from data_contracts.records import Record, Rejected
from data_contracts.whole_file import whole_file
from tasks.acceptance import check_result
from tasks.guard import disk_faults, one_writer
from tasks.progress import Progress, logger
from tasks.publish import progress_sink, publish_result
from tasks.run_record import StageUse, current_label, note_use
from tasks.shards import Cut, FinishedShard, finished_shards, journal_of, note_shard, take_over
from tasks.versions import package_versions

B = TypeVar("B", bound=Record)
P = ParamSpec("P")
Body = Callable[Concatenate[Path, P], Iterator[B | Rejected]]
Sheet = Callable[..., Any]  # (result, *inputs) -> PIL picture, or None where there is nothing to show


def stage(
    record: type[B], *, version: int, by: str | None = None, of_film: tuple[str, ...] = (), sheet: Sheet | None = None
) -> Callable[[Body[P, B]], "Stage[P, B]"]:
    """Make a stage of a body.

    Args:
        record: type of the rows that the body yields.
        version: raise it when the rows' meaning changes; results of other versions are not reused.
        by: a field of the first input's rows; each of its values is a shard that is computed, kept and resumed alone.
            For the stage that reads paths, any name: each path is a shard. None: one shard.
        of_film: inputs of which every shard gets all rows of its film, not of itself alone.
        sheet: draws the contact sheet from the result and the inputs.
    """

    def wrap(body: Body[P, B]) -> Stage[P, B]:
        return Stage(body, record, version, Cut(by, of_film), sheet)

    return wrap


@dataclass(frozen=True)
class Work:
    """One call of a stage: its inputs by parameter name, its configuration, and the folder of its result."""

    inputs: dict[str, Any]
    config: StageConfig
    digest: str
    folder: Path


class Stage(Generic[P, B]):
    """A stage: call it with a workspace, its inputs and its configuration."""

    def __init__(self, body: Body[P, B], record: type[B], version: int, cut: Cut, sheet: Sheet | None) -> None:
        functools.update_wrapper(self, body)
        self.name = body.__name__
        self.body, self.record, self.version, self.cut, self.sheet = body, record, version, cut, sheet

    def __call__(self, workspace: Path, *args: P.args, **kwargs: P.kwargs) -> Dataset[B]:
        """Return the stage's result, reused where these inputs and this configuration have been finished before.

        Raises:
            StageFault: the work failed, its result is empty, or too much of it was refused.
        """
        started = time.monotonic()
        work = self._plan(workspace, *args, **kwargs)
        reused = Manifest.load(work.folder) is not None
        if FlowRunContext.get() is None:
            result = self._finish(work)
        else:
            result = cast("Dataset[B]", self._task(work, reused=reused)(**work.inputs, config=work.config))
        note_result(self.name, work.folder, time.monotonic() - started, reused=reused)
        parents = tuple(dict.fromkeys(f"{i.folder.parent.name}/{i.folder.name}" for i in _datasets(work.inputs)))
        note_use(
            StageUse(
                stage=self.name,
                label=current_label(),
                digest=work.folder.name,
                parents=parents,
                reused=reused,
                seconds=time.monotonic() - started,
            )
        )
        return result

    def _plan(self, workspace: Path, *args: P.args, **kwargs: P.kwargs) -> Work:
        bound = inspect.signature(self.body).bind(workspace, *args, **kwargs).arguments
        bound.pop("out")
        config = bound.pop("config")
        identity = {"stage": self.name, "version": self.version, "config": config, "inputs": bound}
        digest = digest_of(identity)
        return Work(dict(bound), config, digest, workspace / self.name / digest[:16])

    def _task(self, work: Work, *, reused: bool) -> Task[..., Dataset[B]]:
        """Wrap this call as a Prefect task that takes the body's own parameters, so that the graph has its edges."""
        label = "-".join(filter(None, [self.name.replace("_", "-"), current_label()]))

        def run(*_: object, **__: object) -> Dataset[B]:
            result = self._finish(work)
            publish_result(label, work.folder, reused=reused)
            return result

        parameters = [p for p in inspect.signature(self.body).parameters.values() if p.name != "out"]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__doc__ = self.__doc__
        name = f"{label} · reused" if reused else label
        return Task(
            run, name=self.name.replace("_", "-"), task_run_name=name, cache_policy=NO_CACHE, persist_result=False
        )

    def _finish(self, work: Work) -> Dataset[B]:
        """Compute what is missing, under the kernel-held lock of the result's folder, and write the manifest last."""
        if Manifest.load(work.folder) is None:
            with disk_faults(self.name, work.folder.parents[1]), one_writer(self.name, work.folder):
                if Manifest.load(work.folder) is None:
                    self._compute(work)
        return read_dataset(work.folder, self.record)

    def _compute(self, work: Work) -> None:
        (work.folder / "files").mkdir(exist_ok=True)
        (work.folder / "parts").mkdir(exist_ok=True)
        shards = self.cut.shards(work.inputs)
        elsewhere = finished_shards(work.folder.parent) if self.cut.by else {}
        sink = progress_sink("-".join(filter(None, [self.name, current_label()])))
        with Progress(self.name, current_label(), len(shards), sink) as progress:
            for shard, inputs in shards.items():
                if not (work.folder / "parts" / f"{shard}.parquet").is_file():
                    self._finish_shard(work, FinishedShard(work.folder, shard), inputs, elsewhere)
                progress.advance()
        kept = [row for shard in shards for row in read_rows(work.folder / "parts" / f"{shard}.parquet", self.record)]
        refused = [
            row for shard in shards for row in read_rows(work.folder / "parts" / f"{shard}.rejected.parquet", Rejected)
        ]
        check_result(self.name, work.config, kept, refused)
        write_rows(work.folder / "rejected.parquet", refused)
        write_rows(work.folder / "records.parquet", kept)
        result = Dataset(self.record, work.folder, kept)
        self._draw(work, result)
        self._manifest(work, result, refused, len(shards)).save(work.folder)

    def _finish_shard(
        self, work: Work, shard: FinishedShard, inputs: dict[str, Any], elsewhere: dict[str, FinishedShard]
    ) -> None:
        """Take the shard over from another result that was given the same, else compute it; then note it."""
        started = time.monotonic()
        digest = digest_of({"stage": self.name, "version": self.version, "config": work.config, "inputs": inputs})
        known = elsewhere.get(digest)
        taken = take_over(known, shard, self.record) if known else None
        kept, refused = taken or self._compute_shard(work, shard, inputs)
        entry: dict[str, object] = {"shard": shard.shard, "digest": digest, "kept": kept, "rejected": refused}
        entry |= {"seconds": time.monotonic() - started} | ({"from": known.folder.name} if known and taken else {})
        note_shard(work.folder, entry)

    def _compute_shard(self, work: Work, shard: FinishedShard, inputs: dict[str, Any]) -> tuple[int, int]:
        """Run the body for one shard; its part appears by one rename, after everything it names is written."""
        kept: list[B] = []
        refused: list[Rejected] = []
        for row in self.body(work.folder / "files", **inputs, config=work.config):  # type: ignore[arg-type, call-arg]
            if isinstance(row, Rejected):
                refused.append(row.model_copy(update={"shard": shard.shard}))
            else:
                kept.append(row)
        write_rows(shard.refused(), refused)
        write_rows(shard.part(), kept)
        return len(kept), len(refused)

    def _draw(self, work: Work, result: Dataset[B]) -> None:
        if self.sheet is not None and (picture := self.sheet(result, *work.inputs.values())) is not None:
            with whole_file(work.folder / "sheet.jpg") as beside:
                picture.convert("RGB").save(beside, format="JPEG", quality=82)

    def _manifest(self, work: Work, result: Dataset[B], refused: list[Rejected], shards: int) -> Manifest:
        reasons = [row.reason for row in refused]
        return Manifest(
            stage=self.name,
            version=self.version,
            digest=work.digest,
            content_digest=result.content_digest,
            record=self.record.__name__,
            inputs={name: digest_of(value) for name, value in work.inputs.items()},
            config=cast("dict[str, Any]", content_of(work.config)),
            versions=package_versions(),
            counts=Counts(
                kept=len(result), rejected={reason: reasons.count(reason) for reason in sorted(set(reasons))}
            ),
            shards=shards,
            seconds=round(sum(entry["seconds"] for entry in journal_of(work.folder)), 3),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def note_result(stage: str, folder: Path, seconds: float, *, reused: bool) -> None:
    """Say in the log what came of a stage."""
    if (manifest := Manifest.load(folder)) is not None:
        refused = sum(manifest.counts.rejected.values())
        counts = f"{manifest.counts.kept} kept" + (f", {refused} refused" if refused else "")
        title = f"{stage} {current_label()}".strip()
        logger.info("%s: %s, %s", title, counts, "reused" if reused else f"{seconds:.0f} s")


def _datasets(inputs: dict[str, Any]) -> list[Dataset[Any]]:
    flat = [each for value in inputs.values() for each in (value if isinstance(value, tuple) else (value,))]
    return [value for value in flat if isinstance(value, Dataset)]
