"""Which folders of a tree trainers read, what holds in each, and where its masks are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_contracts.check_faults import Fault
from data_contracts.records import Role
from models.dataset_checks.dataset_toml import NAME as TOML
from models.dataset_checks.dataset_toml import DatasetToml, TomlDataset, TomlSubset, read_toml
from models.dataset_checks.rules import fault
from models.dataset_checks.tree import CAPTIONS, PICTURES, Tree
from models.exports.groups import role_of_folder

METADATA = "metadata.jsonl"
MASKS = ("masks", "mask", "conditioning")
COMPANIONS = frozenset({*MASKS, "control", "controls"})
"""Folders whose pictures go with others of the same name."""


@dataclass(frozen=True)
class Subset:
    """A folder of pictures that a trainer reads.

    masks: the folder of its masks, None where there is none.
    by_alpha: whether the alpha channel is the mask; None where nothing says so.
    resolution: what dataset.toml says, in pixels.
    listed: whether a metadata.jsonl tells pictures and captions, not the files beside one another.
    """

    folder: Path
    masks: Path | None = None
    by_alpha: bool | None = None
    endings: tuple[str, ...] = CAPTIONS
    role: Role = "subject"
    resolution: int | None = None
    listed: bool = False


def subsets_of(tree: Tree) -> tuple[list[Subset], list[Fault]]:
    """Return what trainers read of a tree, and the faults of its layout."""
    if tree.root / TOML in tree.files.get(tree.root, []):
        parsed, faults = read_toml(tree.root / TOML)
        if parsed is not None and parsed.datasets:
            return _toml_subsets(tree, parsed, faults)
        subsets, more = _plain_subsets(tree)
        return subsets, [*faults, *more]
    return _plain_subsets(tree)


def _plain_subsets(tree: Tree) -> tuple[list[Subset], list[Fault]]:
    """Return the folders that a metadata.jsonl lists; of the others the root, where it holds pictures, else its own."""
    listed = [folder for folder, files in tree.files.items() if folder / METADATA in files]
    listed = [folder for folder in listed if not any(other in folder.parents for other in listed)]
    holding = [
        folder
        for folder in tree.files
        if tree.of_kind(folder, PICTURES)
        and not _is_companion(tree, folder)
        and not any(folder.is_relative_to(other) for other in listed)
    ]
    chosen = [tree.root] if tree.root in holding else [folder for folder in holding if folder.parent == tree.root]
    subsets = [Subset(folder, masks=_masks_of(tree, folder), role=_role(folder)) for folder in chosen]
    return [*(Subset(folder, listed=True) for folder in listed), *subsets], list(_not_read(tree, holding, chosen))


def _toml_subsets(tree: Tree, parsed: DatasetToml, faults: list[Fault]) -> tuple[list[Subset], list[Fault]]:
    """Return the folders that dataset.toml names; relative ones are taken from the tree's root."""
    subsets: list[Subset] = []
    for dataset in parsed.datasets:
        for entry in dataset.subsets:
            folder, problem = _named_folder(tree, entry.image_dir)
            if folder is None:
                faults.append(problem)
            else:
                subsets.append(_toml_subset(tree, folder, entry, (dataset, parsed.general)))
    return list(dict.fromkeys(subsets)), faults


def _toml_subset(tree: Tree, folder: Path, entry: TomlSubset, around: Sequence[TomlDataset]) -> Subset:
    """Return one folder; what its own table does not say, the tables around it do."""
    levels: list[TomlSubset | TomlDataset] = [entry, *around]
    by_alpha = next((level.alpha_mask for level in levels if level.alpha_mask is not None), None)
    ending = next((level.caption_extension for level in levels if level.caption_extension), CAPTIONS[1])
    masks, _ = _named_folder(tree, entry.conditioning_data_dir)
    return Subset(
        folder,
        masks=masks,
        by_alpha=by_alpha,
        endings=(ending if ending.startswith(".") else f".{ending}",),
        role=role_of_folder(folder.name, regularises=entry.is_reg),
        resolution=next((level.side for level in around if level.side), None),
    )


def _named_folder(tree: Tree, name: str | None) -> tuple[Path | None, Fault]:
    """Return a folder that dataset.toml names, or None and why it is not looked at."""
    missing = fault(TOML, "toml_missing_folder", f"image_dir = {name!r} is no folder here")
    if not name or "\0" in name:
        return None, missing
    root = tree.root.resolve()
    try:
        folder = (root / name).resolve()
    except (OSError, RuntimeError):
        return None, missing
    if not folder.is_relative_to(root):
        return None, fault(TOML, "toml_leaves", f"image_dir = {name!r} lies outside of this folder")
    inside = tree.root / folder.relative_to(root)
    return (inside, missing) if inside in tree.files else (None, missing)


def _masks_of(tree: Tree, folder: Path) -> Path | None:
    """Return the folder of a folder's masks, where there is one of a usual name."""
    below = [folder / name for name in MASKS]
    beside = [folder.parent / f"{folder.name}_{name}" for name in MASKS[:2]]
    shared = [tree.root / name / folder.name for name in MASKS] + [tree.root / name for name in MASKS]
    return next((path for path in (*below, *beside, *shared) if tree.of_kind(path, PICTURES)), None)


def _is_companion(tree: Tree, folder: Path) -> bool:
    """Return whether a folder, or one above it, holds masks or control pictures."""
    names = folder.relative_to(tree.root).parts
    return any(name.lower() in COMPANIONS or name.lower().endswith(("_mask", "_masks")) for name in names)


def _role(folder: Path) -> Role:
    """Return what a folder's name says of its pictures."""
    name = folder.name.lower()
    others = name == "reg" or name.startswith(("regularisation", "regularization", "held_out_regularisation"))
    return role_of_folder(name, regularises=others)


def _not_read(tree: Tree, holding: Iterable[Path], chosen: list[Path]) -> Iterator[Fault]:
    """Yield a fault for each folder of pictures that lies below those that are read."""
    for folder in holding:
        if folder not in chosen:
            count = len(tree.of_kind(folder, PICTURES))
            yield fault(tree.place(folder), "folder_not_read", f"{count} pictures in a folder below")
