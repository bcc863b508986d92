"""The pixels of an item, and the name of its files."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data_contracts.exports import ExportItem
from data_contracts.faults import InputFault
from models.pictures import Picture, read_grey, read_rgb, read_rgba

WHITE = 255


@dataclass(frozen=True)
class Pixels:
    """A picture and how much each of its pixels counts."""

    rgb: Picture  # (H, W, 3) uint8
    weight: Picture  # (H, W) uint8; 255 everywhere where the item has no mask

    @property
    def digest(self) -> str:
        """SHA-256 of both, however they are encoded."""
        digest = hashlib.sha256(repr(self.rgb.shape).encode())
        digest.update(self.rgb.tobytes())
        digest.update(self.weight.tobytes())
        return digest.hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


def load_pixels(item: ExportItem) -> Pixels:
    """Read an item's picture and mask.

    Raises:
        InputFault: one of them is missing or no picture, or they differ in size.
    """
    try:
        rgb = read_rgb(item.image)
        if item.mask is None:
            weight = np.full(rgb.shape[:2], WHITE, np.uint8)
        elif item.mask == item.image:
            weight = np.ascontiguousarray(read_rgba(item.image)[..., 3])
        else:
            weight = read_grey(item.mask)
    except ValueError as error:
        message = f"{error}; assemble the data set again"
        raise InputFault(message) from error
    if weight.shape != rgb.shape[:2]:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (rgb, weight)]
        message = f"{item.image.name} has {sizes[0]} pixels, its mask {sizes[1]}: "
        raise InputFault(message + "they must be of one size; assemble the data set again")
    return Pixels(rgb, weight)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a picture in pixels, of which only the beginning is read.

    Raises:
        InputFault: it is missing or no picture.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError as error:
        message = f"{path.name}: not a picture that can be read; assemble the data set again"
        raise InputFault(message) from error


def named_pixels(items: Iterable[ExportItem]) -> Iterator[tuple[str, ExportItem, Pixels]]:
    """Yield items with their pixels and the stem of their files, numbered where pictures and masks are alike."""
    seen: Counter[str] = Counter()
    for item in items:
        pixels, stem = load_pixels(item), content_stem(item)
        seen[stem] += 1
        yield (stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"), item, pixels


def content_stem(item: ExportItem) -> str:
    """Return the name that an item's files get: another picture or another mask is another name.

    For files that are named by their content, as those of a dataset are, it begins with the picture's own name.
    """
    mask = "nomask" if item.mask is None else _digest(item.mask)[:8]
    return f"{_digest(item.image)[:24]}-{mask}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
