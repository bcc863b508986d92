"""Checking many files at a time, none of which can stop the check of the others."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault
from models.dataset_checks.tree import Tree

T = TypeVar("T")


def check_each(
    tree: Tree, pool: Executor, paths: Iterable[Path], check: Callable[[Path, str], tuple[T | None, list[Fault]]]
) -> tuple[dict[Path, T | None], list[Fault]]:
    """Return what `check`, given a file and its place, says of each file, and all faults.

    A file that defeats the check is None, and that is a fault as well.
    """

    def guarded(path: Path) -> tuple[T | None, list[Fault]]:
        try:
            return check(path, tree.place(path))
        except OSError as error:
            return None, [unreadable(tree.place(path), error)]
        except Exception as error:  # noqa: BLE001  whatever bytes make a decoder do, the other files are checked
            return None, [fault(tree.place(path), "undecodable", f"{type(error).__name__}: {error}")]

    files = list(dict.fromkeys(paths))
    found = dict(zip(files, pool.map(guarded, files), strict=True))
    return {path: value for path, (value, _) in found.items()}, [each for _, more in found.values() for each in more]


def unreadable(place: str, error: OSError) -> Fault:
    """Return the fault of a file that the system does not let be read."""
    return fault(place, "unreadable", f"it cannot be read ({error.strerror or error})")
