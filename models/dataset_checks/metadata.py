"""The lines of a `metadata.jsonl`, as `datasets`' ImageFolder and diffusers' scripts read them."""

import json
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from data_contracts.check_faults import Fault
from data_contracts.records import Role
from models.dataset_checks.caption import caption_faults
from models.dataset_checks.rules import fault
from models.dataset_checks.tree import PICTURES, Tree
from models.exports.groups import is_mask_label

TEXT_COLUMNS = ("text", "caption", "prompt")


@dataclass
class Listing:
    """What a metadata.jsonl says.

    pictures: the pictures that it lists.
    masks: the mask of a picture, where its line names one.
    captions: each line's caption, by where it stands.
    roles: what the picture of each caption is to the LoRA.
    """

    pictures: list[Path] = field(default_factory=list)
    masks: dict[Path, Path] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_metadata(tree: Tree, file: Path) -> Listing:
    """Read a metadata.jsonl; its file names are relative to its folder.

    Raises:
        OSError: the file cannot be read.
    """
    listing = Listing()
    files = {path.relative_to(file.parent).as_posix(): path for path in tree.below(file.parent)}
    for number, data in enumerate(file.read_bytes().split(b"\n"), start=1):
        if data.strip():
            _read_line(listing, data, f"{tree.place(file)}:{number}", files)
    known = {*listing.pictures, *listing.masks.values()}
    for path in files.values():
        if path.suffix.lower() in PICTURES and path not in known and not is_mask_label(path):
            listing.faults.append(fault(tree.place(path), "metadata_unlisted", f"{file.name} has no line for it"))
    return listing


def _read_line(listing: Listing, data: bytes, place: str, files: dict[str, Path]) -> None:
    """Add one line to the listing."""
    try:
        row = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        listing.faults.append(fault(place, "metadata_not_json", f"the line is not JSON ({error})"))
        return
    if not isinstance(row, dict):
        listing.faults.append(fault(place, "metadata_not_json", f"the line is {type(row).__name__}, not an object"))
        return
    picture, faults = _file_of(row.get("file_name"), place, files)
    listing.faults += faults
    if picture is None:
        return
    if picture in listing.pictures:
        listing.faults.append(fault(place, "metadata_twice", f"{row['file_name']!r} has a line already"))
        return
    listing.pictures.append(picture)
    if row.get("mask_file_name") is not None:
        mask, faults = _file_of(row["mask_file_name"], place, files)
        listing.faults += faults
        if mask is not None:
            listing.masks[picture] = mask
    _read_text(listing, row, place)


def _read_text(listing: Listing, row: dict[str, Any], place: str) -> None:
    """Add a line's caption to the listing."""
    text = next((row[column] for column in TEXT_COLUMNS if column in row), None)
    if not isinstance(text, str):
        columns = " or ".join(TEXT_COLUMNS)
        listing.faults.append(fault(place, "missing_caption", f"{row['file_name']!r} has no {columns}"))
        return
    listing.faults += caption_faults(text, place)
    if text.strip():
        listing.captions[place] = text.strip()
        known: tuple[Role, ...] = get_args(get_args(Role)[0])
        listing.roles[place] = next((role for role in known if role == row.get("role")), "subject")


def _file_of(name: object, place: str, files: dict[str, Path]) -> tuple[Path | None, list[Fault]]:
    """Return the file that a line names, or None and why there is none. The disk is never asked."""
    if not isinstance(name, str) or not name:
        return None, [fault(place, "metadata_no_file_name", f"file_name is {name!r}")]
    normal = posixpath.normpath(name.replace("\\", "/"))
    if normal.startswith(("/", "..")) or ":" in normal.split("/", maxsplit=1)[0]:
        return None, [fault(place, "metadata_leaves", f"{name!r} leaves the folder")]
    if normal not in files:
        return None, [fault(place, "metadata_missing_file", f"{name!r} is not there")]
    return files[normal], []
