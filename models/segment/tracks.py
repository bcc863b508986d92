"""Which mask of this frame is which character of the last: linking by overlap, motion and colour."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models.segment import TrackMask
from models.segment.instances import Instance

MAX_GAP = 4  # frames a character may be lost
MAX_COST = 0.75
OVERLAP_WEIGHT, COLOUR_WEIGHT, JUMP_WEIGHT = 0.35, 0.45, 0.2
MIN_SIGHTINGS = 2  # in shots long enough to see a character twice


@dataclass
class _Track:
    instance: Instance
    histogram: NDArray[np.float64]
    last: int
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # pixels a frame, x and y
    sightings: int = 0
    number: int | None = None


class Tracker:
    """The tracks of one shot of `frames` frames; windows of it are linked one after the other."""

    def __init__(self, frames: int) -> None:
        self._least = min(MIN_SIGHTINGS, frames)
        self._tracks: list[_Track] = []
        self._numbers = 0

    def link(self, start: int, window: Sequence[Sequence[Instance]]) -> Iterator[TrackMask]:
        """Yield the masks of frames `start`.. by frame and track; what is seen once only is dropped."""
        linked: list[tuple[int, _Track, Instance]] = []
        for index, instances in enumerate(window, start):
            linked += [(index, track, instance) for track, instance in self._assign(index, instances)]
        for _, track, _ in linked:
            if track.number is None and track.sightings >= self._least:
                track.number, self._numbers = self._numbers, self._numbers + 1
        rows = [(index, track.number, instance) for index, track, instance in linked if track.number is not None]
        for index, number, instance in sorted(rows, key=lambda row: row[:2]):
            yield TrackMask(index, number, instance.alpha, instance.score)

    def _assign(self, index: int, instances: Sequence[Instance]) -> list[tuple[_Track, Instance]]:
        alive = [track for track in self._tracks if index - track.last <= MAX_GAP]
        pairs: list[tuple[_Track, Instance]] = []
        taken: set[int] = set()
        if alive and instances:
            cost = np.array([[_cost(track, instance, index) for instance in instances] for track in alive])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < MAX_COST:
                    pairs.append((alive[row], instances[column]))
                    taken.add(int(column))
        for number, instance in enumerate(instances):
            if number not in taken:
                pairs.append((_Track(instance, instance.histogram(), index), instance))
                self._tracks.append(pairs[-1][0])
        for track, instance in pairs:
            _advance(track, instance, index)
        return pairs


def _cost(track: _Track, instance: Instance, index: int) -> float:
    """Return 0..1: what overlap (after moving on as before), colours and the jump in widths say against a link."""
    shift = track.velocity * (index - track.last)
    mask = instance.mask
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    moved = np.asarray(cv2.warpAffine(track.instance.alpha, matrix, mask.shape[::-1])) >= 128  # noqa: PLR2004
    overlap = (moved & mask).sum() / max(1, (moved | mask).sum())
    alike = np.sqrt(track.histogram * instance.histogram()).sum()
    jump = np.linalg.norm(_centre(instance) - _centre(track.instance) - shift) / (2 * np.sqrt(mask.sum()))
    return float(OVERLAP_WEIGHT * (1 - overlap) + COLOUR_WEIGHT * 2 * (1 - alike) + JUMP_WEIGHT * min(jump, 2.0))


def _advance(track: _Track, instance: Instance, index: int) -> None:
    steps = index - track.last
    if steps:
        track.velocity = (_centre(instance) - _centre(track.instance)) / steps
    track.histogram = 0.8 * track.histogram + 0.2 * instance.histogram()
    track.instance, track.last, track.sightings = instance, index, track.sightings + 1


def _centre(instance: Instance) -> NDArray[np.float64]:
    ys, xs = np.nonzero(instance.mask)
    return np.array([xs.mean(), ys.mean()])
