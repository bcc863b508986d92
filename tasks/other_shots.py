"""Frames of other shots that may show the place behind a character."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer
from models.inpaint import Hole
from models.inpaint.elsewhere import View, likely_places
from models.inpaint.provenance import dilate
from models.pictures import Picture, read_grey, read_rgb

THUMBNAIL = (64, 36)


class OtherShots:
    """Two frames of every shot but one, looked at only as thumbnails until one of them is asked for."""

    def __init__(self, frames: Dataset[Frame], layers: Dataset[Layer], but: str) -> None:
        shots = [group.rows for shot, group in frames.groups("shot").items() if shot != but]
        self.candidates = [rows[n] for rows in shots for n in sorted({len(rows) // 3, 2 * len(rows) // 3})]
        self.frames, self.layers = frames, layers
        self.views: dict[str, View] = {}

    def views_like(self, picture: Picture, most: int) -> list[View]:
        """Return the views that look most as if they showed the picture's place, the likeliest first."""
        thumbnails = [thumbnail(self.frames.path(frame.image)) for frame in self.candidates]
        chosen = likely_places(shrink(picture), thumbnails, most) if thumbnails else []
        return [self._view(self.candidates[index]) for index in chosen]

    def _view(self, frame: Frame) -> View:
        if frame.id not in self.views:
            hole = dilate(hole_of(frame, self.layers))
            self.views[frame.id] = View(read_rgb(self.frames.path(frame.image)), hole)
        return self.views[frame.id]


def hole_of(frame: Frame, layers: Dataset[Layer]) -> Hole:
    """Return where characters are in a frame, `(H, W)` bool; soft edges count."""
    hole = np.zeros((frame.height, frame.width), bool)
    for layer in layers.where("frame_id", frame.id):
        hole |= read_grey(layers.path(layer.mask)) > 0
    return hole


@lru_cache(maxsize=10_000)
def thumbnail(path: Path) -> Picture:
    """Return a picture at thumbnail size; the files are named by their content, so a path is one picture for good."""
    return shrink(read_rgb(path))


def shrink(picture: Picture) -> Picture:
    """Return a picture of `THUMBNAIL` pixels."""
    return np.asarray(cv2.resize(picture, THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)
