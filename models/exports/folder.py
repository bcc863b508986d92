"""An export as a whole: written beside, read back, compared, renamed. It is there complete and true, or not at all."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_contracts.exports import ExportItem, ExportSettings
from data_contracts.faults import InputFault, StageFault
from models.exports import FORMATS
from models.exports.groups import write_text
from models.exports.pixels import load_pixels

MARKER = "export.json"  # a folder that holds it was written here, and may be written anew


def export_dataset(to: str, items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> Path:
    """Write items in the format called `to`, and check them by reading them back; return the folder.

    An older export in the folder is replaced, once the new one is complete.

    Raises:
        InputFault: no format has this name, there are no items, or the folder holds something else than an export.
        StageFault: what was read back is not what was written.
    """
    if to not in FORMATS:
        message = f"no export format is called {to!r}; known are: {', '.join(FORMATS)}"
        raise InputFault(message)
    if not any(item.split == "train" for item in items):
        message = f"{settings.name} has no picture to train on, so there is nothing to export"
        raise InputFault(message)
    folder = folder.resolve()
    with replaced(folder, {"format": to, "items": len(items)}) as beside:
        layout = FORMATS.load(to)
        layout.write(items, beside, settings)
        check_same(items, layout.read(beside))
    return folder


@contextmanager
def replaced(folder: Path, described: Mapping[str, Any]) -> Iterator[Path]:
    """Give an empty folder, but for its marker, that takes the place of `folder`, should all go well.

    Raises:
        InputFault: the folder holds something else than an export.
    """
    folder = folder.resolve()
    beside, old = (folder.with_name(folder.name + ending) for ending in (".part", ".old"))
    for place in (folder, beside, old):
        refuse_foreign(place)
    for place in (beside, old):
        shutil.rmtree(place, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        write_text(beside / MARKER, json.dumps({"made_by": "reel2lora", **described}) + "\n")
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_export(folder: Path) -> tuple[ExportItem, ...]:
    """Return the items of an export, whatever its format.

    Raises:
        InputFault: the folder is not an export.
    """
    if not (folder / MARKER).is_file():
        message = f"{folder.name} is not an export: it has no {MARKER}; make one with `reel2lora export CONFIG LORA`"
        raise InputFault(message)
    to = json.loads((folder / MARKER).read_text(encoding="utf-8"))["format"]
    return FORMATS.load(to).read(folder)


def refuse_foreign(folder: Path) -> None:
    """Check that a folder may be written over: it is absent, empty or an older export.

    Raises:
        InputFault: it is a file, or holds something else.
    """
    if not folder.exists() or (folder / MARKER).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        message = f"{folder.name} is there and is no export, so it is left as it is: name another folder, or move it"
        raise InputFault(message)


def check_same(written: Sequence[ExportItem], read: Sequence[ExportItem]) -> None:
    """Check that an export gives back what went in: pixels, mask, caption, repeats, split and role of each item.

    Raises:
        StageFault: it does not; the message names an item.
    """
    before, after = (Counter(map(_content, items)) for items in (written, read))
    for difference, what in ((before - after, "went in and did not come out"), (after - before, "came out only")):
        if difference:
            split, role, repeats, caption, _ = min(difference)
            item = f"a picture ({split}, {role}, {repeats}x, {caption!r})"
            message = f"the export read back differs: {item} {what}, one of {difference.total()}. "
            raise StageFault(message + "Nothing was kept of it; please report this format")


def _content(item: ExportItem) -> tuple[str, str, int, str, str]:
    return item.split, item.role, item.repeats, item.caption, load_pixels(item).digest
