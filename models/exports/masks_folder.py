"""What trainers have in common that look for a picture's mask under the same name in another folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_contracts.exports import ExportItem
from models.exports.groups import Group, read_group, write_text
from models.exports.pixels import named_pixels
from models.pictures import encode_png

MASKS = "masks"


def write_pictures(folder: Path, groups: Sequence[Group]) -> None:
    """Write each group's pictures and texts, and its masks below `masks/`.

    Where one picture of the export has a mask, all have one, white for the others: ai-toolkit takes a missing mask for
    a black one in a batch with masks (`DataLoaderBatchDTO`), and SimpleTuner refuses to start.
    """
    masked = has_masks(groups)
    for group in groups:
        (masks_of(folder, group) if masked else folder / group.folder).mkdir(parents=True, exist_ok=True)
        for stem, item, pixels in named_pixels(group.items):
            write_text(folder / group.folder / f"{stem}.txt", item.caption)
            (folder / group.folder / f"{stem}.png").write_bytes(encode_png(pixels.rgb))
            if masked:
                (masks_of(folder, group) / f"{stem}.png").write_bytes(encode_png(pixels.weight))


def read_pictures(folder: Path, group: Group) -> Iterator[ExportItem]:
    """Yield the items of a group that `write_pictures` wrote."""
    masks = masks_of(folder, group)

    def mask_of(image: Path) -> Path | None:
        return masks / image.name if (masks / image.name).is_file() else None

    return read_group(folder, group, mask_of)


def masks_of(folder: Path, group: Group) -> Path:
    """Return the folder of a group's masks, inside the export's."""
    return folder / MASKS / group.folder


def has_masks(groups: Sequence[Group]) -> bool:
    """Whether masks are written for these groups."""
    return any(item.mask for group in groups for item in group.items)
