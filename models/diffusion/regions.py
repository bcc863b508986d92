"""A picture of several regions, each with a prompt and LoRAs of its own.

Every region predicts for itself what to do next, and a cell of the latents follows the mean of those predictions,
weighed by soft masks of the regions: Bar-Tal et al., MultiDiffusion, 2023, equation 5. A LoRA that is on in its
region's predictions alone cannot change who stands in another's; that LoRAs of characters need this, and that masks and
prompts together give it: Gu et al., Mix-of-Show, 2023, 4.2; Yang et al., LoRA-Composer, 2024.

A region sees its surroundings through a square window as high as the picture, the size that base models are trained on,
or through a larger one where it is larger: so each character is drawn in the middle of a window, as in the pictures
that the base has learnt from, and windows that overlap agree on one scenery. In a square picture every region sees
all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_contracts.faults import InputFault
from data_contracts.regions import Area
from models.pictures import read_grey

Grid = tuple[int, int]
"""Rows and columns of cells: a cell is a latent, or a token where the denoiser reads latents in patches."""
Window = tuple[slice, slice]
"""Rows and columns of a grid that are seen."""
Weights = NDArray[np.float32]
"""How much of each cell or pixel, (rows, columns), belongs to a region, 0..1."""
_FINE = 8  # a cell's sides are cut in as many parts to see how much of it a region covers
_SHARED = 0.05  # of a picture: masks that are drawn by hand may touch


@dataclass(frozen=True)
class Part:
    """A region of a drawn picture: the window that it sees, and how much of each cell of that is its own, 0..1."""

    window: Window
    weights: Weights  # (rows, columns) of the window


def parts_of(areas: Sequence[Area | None], grid: Grid, feather: float) -> list[Part]:
    """Return the parts of a picture of `grid` cells; their weights add up to 1 in every cell.

    areas: None for what no other covers.
    feather: how softly they blend, the spread of a normal distribution in shorter sides of the picture.

    Raises:
        InputFault: a mask cannot be read, is empty, or shares more than a twentieth of the picture with another area;
            or cells are left over, and no region is for those.
    """
    covers = covered(areas, grid)
    spread = feather * min(grid)
    windows, soft = [], []
    for area, cover in zip(areas, covers, strict=True):
        window = (slice(None), slice(None)) if area is None else window_of(cover, grid)
        inside = np.zeros_like(cover)
        inside[window] = (cv2.GaussianBlur(cover, (0, 0), spread) if spread > 0 else cover)[window]
        windows.append(window)
        soft.append(inside)
    total = np.sum(soft, axis=0)
    if bare := float((total <= 0).mean()):
        message = f"{bare:.0%} of the picture are in no region: widen the regions, or add one without an area"
        raise InputFault(message)
    return [Part(window, (each / total)[window]) for window, each in zip(windows, soft, strict=True)]


def covered(areas: Sequence[Area | None], grid: Grid) -> list[Weights]:
    """Return what share of each cell the areas cover, 0..1; with None, all that the others leave.

    Raises:
        InputFault: a mask cannot be read or is empty, or two areas share more than a twentieth of the picture.
    """
    known = [None if area is None else _cover(area, grid) for area in areas]
    rest = np.ones(grid, np.float32) - sum(each for each in known if each is not None)
    shared = float(np.maximum(-rest, 0).mean())
    if shared > _SHARED:
        named = ", ".join(_named(area) for area in areas if area is not None)
        message = f"regions {named} have {shared:.0%} of the picture in common: a place belongs to one; move them apart"
        raise InputFault(message)
    return [np.maximum(rest, 0) if each is None else each for each in known]


def window_of(cover: Weights, grid: Grid) -> Window:
    """Return the smallest window around what is covered that is no smaller than a square of the shorter side."""
    side = min(grid)
    rows, columns = np.nonzero(cover)
    return _around(rows, side, grid[0]), _around(columns, side, grid[1])


def _around(places: NDArray[np.intp], least: int, length: int) -> slice:
    """Return the cells from the first to the last of `places`, widened evenly to `least` inside `length`."""
    first, last = int(places.min()), int(places.max()) + 1
    missing = max(0, least - (last - first))
    start = min(max(0, first - missing // 2), max(0, length - max(least, last - first)))
    return slice(start, max(last, start + least))


def _cover(area: Area, grid: Grid) -> Weights:
    rows, columns = grid
    if isinstance(area, Path):
        try:
            mask = read_grey(area)
        except ValueError as error:
            message = f"region {_named(area)}: {error}"
            raise InputFault(message) from error
        cover = cv2.resize(mask.astype(np.float32) / 255, (columns, rows), interpolation=cv2.INTER_AREA)
    else:
        left, top, right, bottom = area
        down, across = ((np.arange(count * _FINE) + 0.5) / (count * _FINE) for count in grid)
        inside = np.outer((down >= top) & (down < bottom), (across >= left) & (across < right))
        cover = inside.astype(np.float32).reshape(rows, _FINE, columns, _FINE).mean(axis=(1, 3))
    if not cover.any():
        message = f"region {_named(area)} covers nothing of the picture: widen it"
        raise InputFault(message)
    return np.asarray(cover, np.float32)


def _named(area: Area) -> str:
    return area.name if isinstance(area, Path) else f"[{', '.join(f'{side:g}' for side in area)}]"
