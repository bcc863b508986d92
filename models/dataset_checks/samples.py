"""Which picture goes with which mask and which caption, in a folder that a trainer reads."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.check_faults import Fault
from data_contracts.records import Role
from models.dataset_checks.caption import read_caption
from models.dataset_checks.layout import METADATA, Subset
from models.dataset_checks.metadata import read_metadata
from models.dataset_checks.names import caption_of, clash_faults, orphan_faults
from models.dataset_checks.rules import fault
from models.dataset_checks.threads import check_each, unreadable
from models.dataset_checks.tree import PICTURES, Tree
from models.exports.groups import MASK_LABEL, is_mask_label


@dataclass
class Samples:
    """The samples of one or several folders.

    masks: the file of each picture's mask, None where there is none.
    captions: the text of each caption that can be read, by where it stands.
    roles: what the picture of each caption is to the LoRA.
    """

    masks: dict[Path, Path | None] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def samples_of(tree: Tree, subset: Subset, pool: Executor) -> Samples:
    """Return a folder's samples, and what is wrong with their names, captions and metadata."""
    return _listed(tree, subset) if subset.listed else _beside(tree, subset, pool)


def _listed(tree: Tree, subset: Subset) -> Samples:
    """Return the samples that a metadata.jsonl lists."""
    file = subset.folder / METADATA
    try:
        listing = read_metadata(tree, file)
    except OSError as error:
        return Samples(faults=[unreadable(tree.place(file), error)])
    masks = {picture: listing.masks.get(picture) for picture in listing.pictures}
    return Samples(masks, listing.captions, listing.roles, listing.faults)


def _beside(tree: Tree, subset: Subset, pool: Executor) -> Samples:
    """Return the pictures of a folder with the texts and masks of their names."""
    folder = subset.folder
    found = tree.of_kind(folder, PICTURES)
    labels = [path for path in found if is_mask_label(path)]
    pictures = [path for path in found if not is_mask_label(path)]
    masks = {path.stem.removesuffix(MASK_LABEL): path for path in labels}
    if subset.masks is not None:
        masks |= {path.stem: path for path in tree.of_kind(subset.masks, PICTURES)}
    samples = Samples({picture: masks.get(picture.stem) for picture in pictures})
    samples.faults += clash_faults(tree, folder, pictures)
    samples.faults += orphan_faults(tree, folder, pictures)
    samples.faults += _orphan_masks(tree, masks.values(), pictures)
    files: list[Path] = []
    for picture in pictures:
        file, faults = caption_of(tree, picture, subset.endings)
        samples.faults += faults
        files += [file] if file is not None else []
    texts, faults = check_each(tree, pool, files, read_caption)
    samples.faults += faults
    samples.captions = {tree.place(file): text for file, text in texts.items() if text is not None}
    samples.roles = dict.fromkeys(samples.captions, subset.role)
    return samples


def _orphan_masks(tree: Tree, masks: Iterable[Path], pictures: Iterable[Path]) -> Iterator[Fault]:
    """Yield masks without a picture; a shared folder of masks may hold those of other folders' pictures."""
    stems = {path.stem for path in pictures}
    for mask in masks:
        stem = mask.stem.removesuffix(MASK_LABEL)
        others = (path for path in tree.below(tree.root) if path.parent != mask.parent and path.suffix in PICTURES)
        if stem not in stems and not any(path.stem == stem for path in others):
            yield fault(tree.place(mask), "mask_without_picture", "there is no picture of its name")
