"""Which files a folder holds, all the way down, and which of them may be opened."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault, shown

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""What every trainer reads."""
UNREAD = frozenset({".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".psd", ".svg", ".ico", ".tga"})
CAPTIONS = (".txt", ".caption")
CACHES = frozenset({".npz"})
_LITTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", ".gitattributes", ".gitignore", ".gitkeep", ".lock"})
_ODD = frozenset('<>:"|?*\\')
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
_SEEN = PICTURES | UNREAD | CACHES | {*CAPTIONS}


@dataclass
class Tree:
    """The plain files of a folder by the folder that holds them, and what is wrong with the others."""

    root: Path
    files: dict[Path, list[Path]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> str:
        """Return a path as it is shown: relative to the root, with forward slashes."""
        return shown(path.relative_to(self.root).as_posix())

    def of_kind(self, folder: Path, endings: frozenset[str]) -> list[Path]:
        """Return a folder's own files with one of these endings."""
        return [path for path in self.files.get(folder, []) if path.suffix.lower() in endings]

    def below(self, folder: Path) -> list[Path]:
        """Return the files of a folder and of all below it."""
        return [path for where, paths in self.files.items() if where.is_relative_to(folder) for path in paths]


def read_tree(root: Path) -> Tree:
    """Walk through a folder without following links; what trainers would stumble over becomes a fault."""
    tree = Tree(root)

    def refused(error: OSError) -> None:
        where = Path(os.fsdecode(error.filename)) if error.filename else root
        tree.faults.append(fault(tree.place(where), "unreadable", f"the folder cannot be read ({error.strerror})"))

    for folder, folders, names in os.walk(root, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        named = [here / name for name in folders if Path(name).suffix.lower() in PICTURES]
        tree.faults += [
            fault(tree.place(path), "not_a_file", "a folder that is called like a picture") for path in named
        ]
        links = [name for name in folders if (here / name).is_symlink()]
        kept: list[Path] = []
        for path in (here / name for name in sorted([*names, *links])):
            found = list(_faults_of(path, tree))
            tree.faults += found
            # What is only badly named can still be looked into.
            if path.name not in links and not path.name.startswith(".") and {f.rule for f in found} <= {"bad_name"}:
                kept.append(path)
        tree.files[here] = kept
    return tree


def _faults_of(path: Path, tree: Tree) -> Iterator[Fault]:
    """Yield what is wrong with one entry, by its name and kind alone."""
    if path.name.lower() in _LITTER:
        return
    seen = path.suffix.lower() in _SEEN
    if path.is_symlink():
        yield from _link_faults(path, tree, seen=seen)
    elif seen:
        yield from _access_faults(path, tree.place(path))
    if seen:
        yield from _name_faults(path, tree.place(path))


def _access_faults(path: Path, place: str) -> Iterator[Fault]:
    """Yield why a file cannot be opened."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield fault(place, "unreadable", f"it cannot be read ({error.strerror})")
        return
    if not stat.S_ISREG(mode):
        yield fault(place, "not_a_file", "it is no plain file")
    elif not os.access(path, os.R_OK):
        yield fault(place, "unreadable", "it cannot be read (permission denied)")


def _link_faults(path: Path, tree: Tree, *, seen: bool) -> Iterator[Fault]:
    """Yield the fault of a link that leads nowhere, in a circle, out of the folder, or to a folder."""
    place = tree.place(path)
    try:
        target = path.resolve(strict=True)
        is_folder, is_file = target.is_dir(), target.is_file()
    except (OSError, RuntimeError):
        if seen:
            yield fault(place, "broken_link", "a link that leads nowhere")
        return
    if not seen and not is_folder:
        return
    if not target.is_relative_to(tree.root.resolve()):
        yield fault(place, "link_leaves", "a link out of the folder")
    elif is_folder:
        yield fault(place, "folder_not_read", "a link to a folder, which is not followed")
    elif not is_file:
        yield fault(place, "not_a_file", "a link to what is no plain file")


def _name_faults(path: Path, place: str) -> Iterator[Fault]:
    """Yield what a file's name means to trainers."""
    if odd := _oddity(path.name):
        yield fault(place, "bad_name", f"its name {odd}")
    if path.name.startswith("."):
        yield fault(place, "hidden_file", "its name begins with a dot")
    elif path.suffix.lower() in UNREAD:
        yield fault(place, "unread_format", f"a {path.suffix.lower()} file")


def _oddity(name: str) -> str:
    """Return what about a name breaks trainers or other systems; empty for a plain one."""
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "is not UTF-8"
    if not name.isprintable():
        return "holds invisible characters"
    if odd := sorted(_ODD & set(name)):
        return f"holds {' '.join(odd)}"
    stem = name.rpartition(".")[0]
    if stem != stem.strip() or stem.endswith("."):
        return "has a blank or dot at an end"
    return "is reserved on Windows" if stem.lower() in _RESERVED else ""
