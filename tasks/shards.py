"""How a stage's inputs are cut into shards; finished shards, taken over where the same work is asked for again.

A film is dropped, one is added, a shot is segmented differently: the stage has another digest, but most of its shards
are given what they were given before. Such a shard's part and files are linked, not computed again.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.dataset import Dataset, canonical_json, read_rows, write_rows
from data_contracts.records import Record, Rejected
from data_contracts.whole_file import whole_file

FILE_NAME = re.compile(r"[\w.-]+\.\w+")
JOURNAL = "journal.jsonl"
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Cut:
    """How a stage's inputs are cut into shards: by which field, and which inputs keep all rows of the shard's film."""

    by: str | None
    of_film: tuple[str, ...]

    def shards(self, inputs: Inputs) -> dict[str, Inputs]:
        """Return the inputs of each shard; datasets that have the field are cut to the shard, others go in whole."""
        first = next(iter(inputs), None)
        if self.by is None or first is None:
            return {"all": inputs}
        if not isinstance(inputs[first], Dataset):
            return {f"{n:04}": {**inputs, first: (path,)} for n, path in enumerate(inputs[first])}
        parted = {
            name: (dataset, "film" if name in self.of_film else self.by)
            for name, dataset in inputs.items()
            if isinstance(dataset, Dataset) and self.by in dataset.record.model_fields
        }
        groups = {name: dataset.groups(field) for name, (dataset, field) in parted.items()}
        empty = {name: dataset.select(lambda _: False) for name, (dataset, _) in parted.items()}
        cut = {}
        for shard, rows in groups[first].items():
            of = {name: shard if field == self.by else rows.rows[0].film for name, (_, field) in parted.items()}
            cut[shard.replace(":", "-")] = {
                **inputs,
                **{name: groups[name].get(of[name], empty[name]) for name in parted},
            }
        return cut


@dataclass(frozen=True)
class FinishedShard:
    """A shard of some result: the result's folder, and the shard's name there."""

    folder: Path
    shard: str

    def part(self) -> Path:
        """Return the file of its kept rows."""
        return self.folder / "parts" / f"{self.shard}.parquet"

    def refused(self) -> Path:
        """Return the file of its refused items."""
        return self.folder / "parts" / f"{self.shard}.rejected.parquet"


def finished_shards(stage: Path) -> dict[str, FinishedShard]:
    """Return the finished shards of a stage's results, by the digest of what they were computed from.

    Args:
        stage: the stage's folder in the workspace; results that are still being computed count as far as they are.
    """
    found: dict[str, FinishedShard] = {}
    for folder in sorted(path.parent for path in stage.glob(f"*/{JOURNAL}")):
        for entry in journal_of(folder):
            shard = FinishedShard(folder, entry["shard"])
            if "digest" in entry and shard.part().is_file():
                found[entry["digest"]] = shard
    return found


def journal_of(result: Path) -> list[dict[str, Any]]:
    """Return what a result's journal notes of each finished shard."""
    journal = result / JOURNAL
    return [json.loads(line) for line in journal.read_bytes().splitlines()] if journal.exists() else []


def note_shard(result: Path, entry: Mapping[str, object]) -> None:
    """Add a finished shard to a result's journal."""
    with (result / JOURNAL).open("ab") as journal:
        journal.write(canonical_json(entry) + b"\n")


def take_over(source: FinishedShard, target: FinishedShard, record: type[Record]) -> tuple[int, int] | None:
    """Make `target` of `source`: files linked first, then the refused rows, the part last, each by one rename.

    Returns:
        How many rows are kept, and how many refused; None where somebody is deleting the source.
    """
    try:
        kept, refused = read_rows(source.part(), record), read_rows(source.refused(), Rejected)
        for name in sorted(set(_files_of(kept, source.folder / "files"))):
            _link(source.folder / "files" / name, target.folder / "files" / name)
    except FileNotFoundError:
        return None
    write_rows(target.refused(), [row.model_copy(update={"shard": target.shard}) for row in refused])
    write_rows(target.part(), kept)
    return len(kept), len(refused)


def _files_of(rows: tuple[Record, ...], files: Path) -> Iterator[str]:
    """Yield the files that rows name: texts, also in lists, that are names of files of their result."""
    for row in rows:
        for value in row.model_dump(mode="json").values():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and FILE_NAME.fullmatch(text) and (files / text).is_file():
                    yield text


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it, beside and renamed, where the file system knows no links."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        with whole_file(target) as beside:
            shutil.copyfile(source, beside)
