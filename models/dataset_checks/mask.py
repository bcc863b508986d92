"""One mask, in a file of its own, beside its picture."""

from pathlib import Path

from PIL import Image

from data_contracts.check_faults import Fault
from models.dataset_checks.picture import Unfit, decode, open_picture, read_bytes
from models.dataset_checks.rules import fault


def mask_faults(path: Path, place: str, size: tuple[int, int] | None) -> list[Fault]:
    """Return what is wrong with a mask for a picture of `size` (width, height), None where that is not known.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with open_picture(read_bytes(path)) as mask:
            decode(mask)
            found = []
            if size is not None and mask.size != size:
                sizes = f"it is {mask.size[0]}x{mask.size[1]}, its picture {size[0]}x{size[1]} pixels"
                found.append(fault(place, "mask_size", sizes))
            if _is_black(mask):
                found.append(fault(place, "mask_black", "it is black all over"))
            return found
    except Unfit as unfit:
        return [fault(place, "mask_undecodable", unfit.value)]


def _is_black(mask: Image.Image) -> bool:
    """Return whether no pixel of a decoded mask lets anything be learnt; transparency is overlooked, as trainers do."""
    deep = mask.mode.startswith(("I", "F"))  # more than 8 bits: these cannot all be converted
    high = (mask if deep else mask.convert("RGB").convert("L")).getextrema()[1]
    return not high
