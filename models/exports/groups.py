"""Items in folders: trainers tell repeats, regularisation and validation of a folder, not of a picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.exports import ExportItem, Split, checked_item
from data_contracts.faults import StageFault
from data_contracts.records import Role

INHABITED, HELD_OUT_INHABITED = "inhabited", "held_out_inhabited"
FOLDERS: dict[tuple[Split, Role], str] = {
    ("train", "subject"): "train",
    ("train", "regularisation"): "regularisation",
    ("train", "inhabited"): INHABITED,
    ("held_out", "subject"): "held_out",
    ("held_out", "regularisation"): "held_out_regularisation",
    ("held_out", "inhabited"): HELD_OUT_INHABITED,
}


def role_of_folder(name: str, *, regularises: bool = False) -> Role:
    """Return what a folder's pictures are: trainers' configurations know regularisation, the name tells the rest."""
    if regularises:
        return "regularisation"
    return "inhabited" if name.startswith((INHABITED, HELD_OUT_INHABITED)) else "subject"


@dataclass(frozen=True)
class Group:
    """Items that a trainer treats alike."""

    folder: str
    split: Split
    role: Role
    repeats: int
    items: tuple[ExportItem, ...] = ()

    @property
    def is_listed(self) -> bool:
        """Whether trainers are told of it: they validate on the subject alone."""
        return self.split == "train" or self.role == "subject"


def group_items(items: Sequence[ExportItem]) -> tuple[Group, ...]:
    """Return the items by split, role and repeats; a folder's name tells its repeats where there are several."""
    groups = []
    for (split, role), name in FOLDERS.items():
        alike = [item for item in items if (item.split, item.role) == (split, role)]
        counts = sorted({item.repeats for item in alike})
        for repeats in counts:
            folder = name if len(counts) == 1 else f"{name}-x{repeats}"
            groups.append(Group(folder, split, role, repeats, tuple(item for item in alike if item.repeats == repeats)))
    return tuple(groups)


def unlisted_groups(folder: Path, listed: Sequence[str]) -> Iterator[Group]:
    """Yield, without items, the held-out folders that a trainer's configuration does not list."""
    for (split, role), name in FOLDERS.items():
        if split == "held_out" and name not in listed and (folder / name).is_dir():
            yield Group(name, split, role, repeats=1)


def read_group(folder: Path, group: Group, mask_of: Callable[[Path], Path | None]) -> Iterator[ExportItem]:
    """Yield the items of a group's folder: pictures with the text of the same name, `mask_of` each its mask.

    Raises:
        StageFault: the folder or a text is missing.
        InputFault: a text is not one line.
    """
    pictures = folder / group.folder
    if not pictures.is_dir():
        message = f"the export names the folder {group.folder!r}, which is not there: export again"
        raise StageFault(message)
    for image in sorted(pictures.glob("*.png")):
        if is_mask_label(image):
            continue
        fields = {
            "image": image,
            "mask": mask_of(image),
            "caption": read_text(image.with_suffix(".txt")).removesuffix("\n").removesuffix("\r"),  # an editor's
            "repeats": group.repeats,
            "split": group.split,
            "role": group.role,
        }
        yield checked_item(f"{group.folder}/{image.name}", fields)


MASK_LABEL = "-masklabel"
"""Ends the stem of masks that lie beside their pictures, as OneTrainer wants them."""


def is_mask_label(path: Path) -> bool:
    """Whether a picture is another one's mask by OneTrainer's rule."""
    return path.stem.endswith(MASK_LABEL)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the line ends of `text` on every system; make its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def read_text(path: Path) -> str:
    """Return a file's text as it stands there.

    Raises:
        StageFault: it is missing.
    """
    if not path.is_file():
        message = f"the export lacks {path.parent.name}/{path.name}: export again"
        raise StageFault(message)
    return path.read_bytes().decode()
