"""A finished stage's result: typed rows in Parquet beside their files."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from data_contracts.faults import StaleRows
from data_contracts.records import Record
from data_contracts.whole_file import whole_file

R = TypeVar("R", bound=Record)


class Dataset(Generic[R]):
    """The kept rows of a stage, in a fixed order, and the folder that holds their files.

    Iterating yields the rows; `path` finds a row's file; `where` narrows to the rows that share a field's value.
    A plain class: Prefect walks through the fields of dataclasses and models that tasks are given, row by row.
    """

    def __init__(self, record: type[R], folder: Path, rows: Iterable[R]) -> None:
        self.record = record
        self.folder = folder
        self.rows = tuple(rows)

    def __repr__(self) -> str:
        """Name the type and the number of the rows."""
        return f"Dataset[{self.record.__name__}]({len(self.rows)} rows)"

    def __iter__(self) -> Iterator[R]:
        """Yield the rows in order."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def optional_path(self, name: str | None) -> Path | None:
        """Return the path of the file that a row names, None where it names none."""
        return self.path(name) if name else None

    def path(self, name: str) -> Path:
        """Return the path of the file that a row names.

        Raises:
            ValueError: the name would leave the dataset's folder.
        """
        if Path(name).name != name:
            message = f"file name {name!r} leaves its dataset {self.folder.name}: rows hold plain file names"
            raise ValueError(message)
        return self.folder / "files" / name

    @cached_property
    def by_id(self) -> dict[str, R]:
        """The rows by their id."""
        return {row.id: row for row in self.rows}

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 over the rows' canonical JSON; files are named by content, so it covers them too."""
        digest = hashlib.sha256(self.record.__name__.encode())
        for row in self.rows:
            digest.update(b"\n" + canonical_json(row.model_dump(mode="json")))
        return digest.hexdigest()

    def select(self, keep: Callable[[R], bool]) -> "Dataset[R]":
        """Return the same dataset with only the rows that `keep` accepts."""
        return Dataset(self.record, self.folder, (row for row in self.rows if keep(row)))

    def where(self, field_name: str, value: object) -> "Dataset[R]":
        """Return the rows whose field equals `value`."""
        return self.select(lambda row: getattr(row, field_name) == value)

    def groups(self, field_name: str) -> dict[str, "Dataset[R]"]:
        """Return the rows grouped by a field, groups in order of first appearance."""
        grouped: dict[str, list[R]] = {}
        for row in self.rows:
            grouped.setdefault(str(getattr(row, field_name)), []).append(row)
        return {key: Dataset(self.record, self.folder, rows) for key, rows in grouped.items()}


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write rows to a Parquet file, beside and renamed, so that a killed writer leaves nothing half-written."""
    table = pa.Table.from_pylist([row.model_dump(mode="json") for row in rows])
    with whole_file(path) as beside:
        pq.write_table(table, beside)


def read_rows(path: Path, record: type[R]) -> tuple[R, ...]:
    """Read rows back, validated against their type.

    Raises:
        StaleRows: another version wrote them, and their fields were others.
    """
    try:
        return tuple(TypeAdapter(list[record]).validate_python(pq.read_table(path).to_pylist()))  # type: ignore[valid-type]
    except ValidationError as error:
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        message = f"{where} was written by another version of reel2lora: run the project again"
        raise StaleRows(message) from error


def read_dataset(folder: Path, record: type[R]) -> Dataset[R]:
    """Read the rows of the result in `folder`.

    Raises:
        StaleRows: another version wrote them, and their fields were others.
    """
    return Dataset(record, folder, read_rows(folder / "records.parquet", record))
