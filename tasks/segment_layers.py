"""Cut the characters out of every frame of a shot, each followed through the shot as one track."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Rejected
from data_contracts.stages import SegmentLayersConfig
from models.pictures import Picture, keep_picture, read_rgb
from models.segment import SEGMENTERS, Segmenter, TrackMask
from models.sheets import layers_sheet
from models.shots.quality import sharpness
from tasks.stage import stage

segmenter = lru_cache(maxsize=1)(SEGMENTERS.load)
Box = tuple[int, int, int, int]


@stage(Layer, version=3, by="shot", sheet=layers_sheet)
def segment_layers(out: Path, frames: Dataset[Frame], config: SegmentLayersConfig) -> Iterator[Layer | Rejected]:
    """Yield a layer for each character in each frame; refuse specks and tracks seen only in passing."""
    pictures = [read_rgb(frames.path(frame.image)) for frame in frames]
    found = list(segmenter_of(config).segment_shot(pictures))
    seen = Counter(mask.track for mask in found)
    for mask in sorted(found, key=lambda m: (m.index, m.track)):
        frame = frames.rows[mask.index]
        row_id = f"{frame.id}:t{mask.track:02}"
        box = box_of(mask.alpha)
        if seen[mask.track] < min(config.min_track_frames, len(frames)):
            yield Rejected(id=row_id, reason="short_track", value=seen[mask.track])
        elif fault := fault_of(mask.alpha, box, config):
            yield Rejected(id=row_id, reason=fault[0], value=fault[1])
        else:
            yield layer_of(out, frame, mask, pictures[mask.index], box)


def segmenter_of(config: SegmentLayersConfig) -> Segmenter:
    """Return the segmenter that the configuration names, with its detector."""
    return segmenter(config.backend, config.detector, config.words)


def fault_of(alpha: Picture, box: Box, config: SegmentLayersConfig) -> tuple[str, float] | None:
    """Return the reason and the number by which a mask is refused, or None."""
    if (area := float((alpha >= 128).mean())) < config.min_area:  # noqa: PLR2004
        return "small_area", area
    if (side := min(box[2] - box[0], box[3] - box[1])) < config.min_side:
        return "thin", float(side)
    return None


def box_of(alpha: Picture) -> Box:
    """Return the tight box x0, y0, x1, y1 of `alpha` > 0; all zero where nothing is."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if rows.size == 0:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def layer_of(out: Path, frame: Frame, mask: TrackMask, picture: Picture, box: Box) -> Layer:
    """Write the mask and the cut-out; return the row."""
    x0, y0, x1, y1 = box
    cutout = np.dstack([picture, mask.alpha])[y0:y1, x0:x1]
    return Layer(
        id=f"{frame.id}:t{mask.track:02}",
        **frame.moment(),
        frame_id=frame.id,
        track=f"{frame.shot}:t{mask.track:02}",
        mask=keep_picture(out, mask.alpha),
        cutout=keep_picture(out, cutout),
        box=box,
        area=round(float((mask.alpha >= 128).mean()), 6),  # noqa: PLR2004
        sharpness=round(sharpness(picture, mask.alpha), 3),
        score=round(mask.score, 6),
        depth=mask.depth,
    )
