"""Faults as a table: a row a rule, with how often, the first places, and what to do."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_contracts.check_faults import Fault, errors_of, ordered
from data_contracts.faults import InputFault

EXAMPLES = 3
_COLOURS = {"error": "red", "warning": "yellow"}


def fault_table(faults: Iterable[Fault], title: str) -> Table:
    """Return the faults grouped by rule, errors first."""
    table = Table("", "rule", "count", "where", "what to do", title=Text(title), show_lines=True)
    for (severity, rule), each in groupby(ordered(faults), key=lambda fault: (fault.severity, fault.rule)):
        group = list(each)
        lines = [f"{fault.place}: {fault.value}" for fault in group[:EXAMPLES]]
        if len(group) > EXAMPLES:
            lines.append(f"and {len(group) - EXAMPLES} more")
        remedies = list(dict.fromkeys(fault.remedy for fault in group))[:EXAMPLES]
        # Text, not str: file names and captions may hold what rich takes for its own markup.
        cells = (Text(rule), Text(str(len(group))), Text("\n".join(lines)), Text("\n".join(filter(None, remedies))))
        table.add_row(Text(severity, _COLOURS[severity]), *cells)
    return table


def counted(faults: Sequence[Fault]) -> str:
    """Return how many errors and warnings there are, in words."""
    errors = len(errors_of(faults))
    return f"{_plural(errors, 'error')} and {_plural(len(faults) - errors, 'warning')}"


def write_faults(path: Path, faults: Iterable[Fault]) -> None:
    """Write all faults as a JSON list."""
    rows = [fault.model_dump(mode="json") for fault in ordered(faults)]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def show_faults(faults: Sequence[Fault], title: str, json_file: Path | None) -> None:
    """Print faults as one table and write them where they are asked for.

    Raises:
        InputFault: there are errors among them.
    """
    if json_file is not None:
        write_faults(json_file, faults)
    if faults:
        Console().print(fault_table(faults, title))
    if errors_of(faults):
        message = f"{title}: {counted(faults)}; what to do about them is in the table"
        raise InputFault(message)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
