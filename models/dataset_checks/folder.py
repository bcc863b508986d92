"""A training folder from end to end: all faults of its pictures, masks, captions and names at once."""

import os
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from data_contracts.check_faults import Fault, ordered
from data_contracts.records import Role
from models.caption.lint import Rules, lint_captions
from models.dataset_checks.layout import Subset, subsets_of
from models.dataset_checks.mask import mask_faults
from models.dataset_checks.masking import lacking_masks
from models.dataset_checks.picture import Look, look_at
from models.dataset_checks.rules import fault
from models.dataset_checks.samples import Samples, samples_of
from models.dataset_checks.threads import check_each, unreadable
from models.dataset_checks.tree import Tree, read_tree
from models.dataset_checks.wanted import Wanted


def check_folder(folder: Path, wanted: Wanted | None = None) -> list[Fault]:
    """Return every fault of a training folder, errors first.

    Args:
        folder: pictures beside texts, folders of such, a `metadata.jsonl`, or a `dataset.toml`.
        wanted: what the training needs; by default a folder's own consistency is all that is checked.
    """
    wanted = wanted or Wanted()
    try:
        if not folder.is_dir():
            return [fault(folder.name, "no_folder", "there is no such folder")]
    except OSError as error:
        return [unreadable(folder.name, error)]
    tree = read_tree(folder)
    subsets, faults = subsets_of(tree)
    faults += tree.faults
    every, looks = Samples(), dict[Path, Look | None]()
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is a fault of ours
        for subset in subsets:
            samples = samples_of(tree, subset, pool)
            seen, more = _look(tree, subset, samples, wanted, pool)
            faults += [*samples.faults, *more]
            looks |= seen
            every.masks |= samples.masks
            every.captions |= samples.captions
            every.roles |= samples.roles
    if not every.masks:
        faults.append(fault(".", "no_pictures", "it holds no picture that trainers read"))
    return ordered([*faults, *_duplicates(tree, looks), *_lint(every, wanted)])


def _look(
    tree: Tree, subset: Subset, samples: Samples, wanted: Wanted, pool: Executor
) -> tuple[dict[Path, Look | None], list[Fault]]:
    """Return what is known of a folder's pictures, and the faults of pictures and masks."""
    wanted = replace(wanted, resolution=wanted.resolution or subset.resolution)
    looks, faults = check_each(tree, pool, samples.masks, partial(look_at, wanted=wanted))
    sizes = {mask: look.size for picture, mask in samples.masks.items() if mask and (look := looks[picture])}

    def look_at_mask(path: Path, place: str) -> tuple[None, list[Fault]]:
        return None, mask_faults(path, place, sizes.get(path))

    _, more = check_each(tree, pool, filter(None, samples.masks.values()), look_at_mask)
    return looks, [*faults, *more, *lacking_masks(tree, subset, samples, looks, masked=wanted.masked)]


def _lint(samples: Samples, wanted: Wanted) -> list[Fault]:
    """Return what the captions say that they should not; others than the subject have no trigger."""
    own = wanted.rules.trigger
    rules: dict[Role, Rules] = {
        "subject": wanted.rules,
        "inhabited": replace(wanted.rules, type=None),
        "regularisation": replace(
            wanted.rules, type=None, trigger="", deny=(), others=(*wanted.rules.others, *filter(None, [own]))
        ),
    }
    return [
        problem
        for role, asked in rules.items()
        for problem in lint_captions(
            {place: text for place, text in samples.captions.items() if samples.roles[place] == role}, asked
        )
    ]


def _duplicates(tree: Tree, looks: Mapping[Path, Look | None]) -> Iterator[Fault]:
    """Yield pictures whose pixels are those of an earlier one, of whichever folder."""
    first: dict[str, Path] = {}
    for path, look in looks.items():
        if look is not None and (known := first.setdefault(look.digest, path)) != path:
            yield fault(tree.place(path), "duplicate_picture", f"it has the pixels of {tree.place(known)}")
