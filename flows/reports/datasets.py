"""What the report shows of a data set: its coverage as bars, what it lacks, and what people have changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts.dataset import read_rows
from data_contracts.records import UNSAID, Example
from models.selection.coverage import FILE, Finding, read_coverage

MOST_VALUES = 8


@dataclass(frozen=True)
class Bar:
    """A value of a facet, and how much of the set shows it."""

    value: str
    pictures: int
    share: float


@dataclass(frozen=True)
class DataSet:
    """A data set in figures."""

    facets: dict[str, tuple[Bar, ...]]
    findings: tuple[Finding, ...]
    rewritten: int
    held_out: int
    regularisation: int
    inhabited: int


def data_set_of(folder: Path) -> DataSet | None:
    """Return the figures of a data set's result; None where the folder holds no data set."""
    path = folder / "files" / FILE
    if not path.is_file():
        return None
    found, rows = read_coverage(path), read_rows(folder / "records.parquet", Example)
    return DataSet(
        facets={name: bars for name, counts in found.counts.items() if (bars := bars_of(counts))},
        findings=found.findings,
        rewritten=sum(row.edited for row in rows),
        held_out=sum(row.split == "held_out" for row in rows),
        regularisation=sum(row.role == "regularisation" for row in rows),
        inhabited=sum(row.role == "inhabited" for row in rows),
    )


def bars_of(counts: Mapping[str, int]) -> tuple[Bar, ...]:
    """Return a facet's values, the most frequent first, the rest in one; none where nothing is known of any picture."""
    if set(counts) <= UNSAID:
        return ()
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (item[0] in UNSAID, -item[1], item[0]))
    bars = [Bar(value or "not seen", count, count / total) for value, count in ranked[:MOST_VALUES]]
    if rest := ranked[MOST_VALUES:]:
        count = sum(each for _, each in rest)
        bars.append(Bar(f"{len(rest)} more", count, count / total))
    return tuple(bars)
