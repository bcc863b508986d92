"""Which pictures of a folder lack a mask, by the way in which the others have theirs."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from data_contracts.check_faults import Fault
from models.dataset_checks.layout import Subset
from models.dataset_checks.picture import Look
from models.dataset_checks.rules import fault
from models.dataset_checks.samples import Samples
from models.dataset_checks.tree import Tree


def lacking_masks(
    tree: Tree, subset: Subset, samples: Samples, looks: Mapping[Path, Look | None], *, masked: bool | None
) -> Iterator[Fault]:
    """Yield pictures without a mask where one is needed, and transparency that no trainer would take for a mask.

    Args:
        tree: the whole folder.
        subset: the part of it that the samples are from.
        samples: the pictures and the files of their masks.
        looks: what is known of each picture.
        masked: whether masks are needed; None: as the folder shows.
    """
    in_files = subset.masks is not None or any(samples.masks.values())
    by_alpha = not in_files and _by_alpha(subset, looks)
    for picture, mask in samples.masks.items():
        place, look = tree.place(picture), looks[picture]
        if look is None:
            continue
        covered = mask is not None if in_files else look.alpha != "none"
        if not covered and (masked or (masked is None and in_files)):
            yield fault(place, "missing_mask", "it has no mask")
        elif not covered and by_alpha and subset.role != "regularisation":
            yield fault(place, "no_alpha", "it has no alpha channel, others of its folder have")
        if look.alpha == "varies" and not by_alpha and not (masked and not in_files):
            yield fault(place, "alpha_ignored", "part of it is transparent, and nothing says that this is a mask")


def _by_alpha(subset: Subset, looks: Mapping[Path, Look | None]) -> bool:
    """Return whether the alpha channel is the mask: said so and used, or used by half of the pictures or more."""
    known = [look for look in looks.values() if look is not None]
    used = [look for look in known if look.alpha in {"varies", "empty"}]
    if subset.by_alpha is not None:
        return subset.by_alpha and bool(used)
    return bool(used) and 2 * len(used) >= len(known)
