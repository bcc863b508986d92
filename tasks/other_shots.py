"""Frames of other shots that may show the place behind a character."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer
from models.inpaint.elsewhere import View
from models.inpaint.palettes import Palette, most_alike, palette
from models.pictures import Picture, read_grey, read_rgb
from models.registration import Hole
from models.registration.masks import dilate

PER_SHOT = 5  # frames of a shot: what moves in front, and a camera that moves, show more of the place


class OtherShots:
    """A few frames of every shot but one, known only by their colours until one of them is asked for."""

    def __init__(self, frames: Dataset[Frame], layers: Dataset[Layer], but: str) -> None:
        shots = [group.rows for shot, group in frames.groups("shot").items() if shot != but]
        self.candidates = [rows[n] for rows in shots for n in spread_indices(len(rows), PER_SHOT)]
        self.frames, self.layers = frames, layers
        self.views: dict[str, View] = {}

    def views_like(self, picture: Picture, most: int) -> list[View]:
        """Return the views that look most as if they showed the picture's place, the likeliest first."""
        palettes = [palette_of(self.frames.path(frame.image)) for frame in self.candidates]
        chosen = most_alike(palette(picture), palettes, most)
        return [self._view(self.candidates[index]) for index in chosen]

    def _view(self, frame: Frame) -> View:
        if frame.id not in self.views:
            hole = dilate(hole_of(frame, self.layers))
            self.views[frame.id] = View(read_rgb(self.frames.path(frame.image)), hole)
        return self.views[frame.id]


def spread_indices(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` different indices, evenly spread over `count` items."""
    wanted = min(count, wanted)
    return [int((n + 0.5) * count / wanted) for n in range(wanted)]


def hole_of(frame: Frame, layers: Dataset[Layer]) -> Hole:
    """Return where characters are in a frame, `(H, W)` bool; soft edges count."""
    hole = np.zeros((frame.height, frame.width), bool)
    for layer in layers.where("frame_id", frame.id):
        hole |= read_grey(layers.path(layer.mask)) > 0
    return hole


@lru_cache(maxsize=10_000)
def palette_of(path: Path) -> Palette:
    """Return a picture's colours; the files are named by their content, so a path is one picture for good."""
    return palette(read_rgb(path))
