"""Items of every kind for the tests of exports: tiny pictures on disk."""

from pathlib import Path

import numpy as np

from data_contracts.exports import ExportItem, ExportSettings
from models.pictures import keep_picture

SETTINGS = ExportSettings(name="luca", trigger="luca", resolution=64)


def picture(folder: Path, seed: int, size: tuple[int, int] = (64, 64)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return folder / keep_picture(folder, pixels)


def mask(folder: Path, seed: int, size: tuple[int, int] = (64, 64)) -> Path:
    height, width = size[::-1]
    weight = np.zeros((height, width), np.uint8)
    weight[height // 4 : height // 2, width // 4 : width // 2] = 200 + seed
    return folder / keep_picture(folder, weight)


def item(image: Path, weight: Path | None = None, caption: str = "luca, running", repeats: int = 10, **facts):
    return ExportItem(image=image, mask=weight, caption=caption, **{"split": "train", "repeats": repeats, **facts})


def every_kind(pictures: Path) -> list[ExportItem]:
    """Two repeats, with mask and without, held out, regularisation, inhabited, upright, alike."""
    upright = (48, 96)
    held = {"split": "held_out", "repeats": 1}
    return [
        item(picture(pictures, 1), mask(pictures, 1), "luca, running, full body"),
        item(picture(pictures, 2), None, "luca, a town # with “quotes”"),
        item(picture(pictures, 3, upright), mask(pictures, 3, upright), repeats=5),
        item(picture(pictures, 1), mask(pictures, 1), "luca, the same picture in other words"),
        item(picture(pictures, 4), mask(pictures, 4), "a girl", repeats=1, role="regularisation"),
        item(picture(pictures, 5), mask(pictures, 5), **held),
        item(picture(pictures, 6), mask(pictures, 6), "a girl, standing", role="regularisation", **held),
        item(picture(pictures, 7), mask(pictures, 7), "luca, a girl, walking", repeats=1, role="inhabited"),
        item(picture(pictures, 8), mask(pictures, 8), "luca, a girl, sitting", role="inhabited", **held),
    ]
