"""Take the characters out: true pixels from other frames of the shot first, a network for what none of them shows."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Plate, Rejected
from data_contracts.stages import InpaintPlatesConfig
from models.inpaint import INPAINTERS
from models.inpaint.provenance import Origin, PlateImage, ShotPlates
from models.pictures import Picture, keep_picture, read_rgb
from models.sheets import plates_sheet
from models.shots.quality import sharpness
from tasks.other_shots import OtherShots, hole_of
from tasks.progress import report_progress
from tasks.stage import stage

inpainter = lru_cache(maxsize=1)(INPAINTERS.load)
MAX_HOLE = 0.9  # of a picture; beyond it nothing is left to go by


@stage(Plate, version=1, by="shot", of_film=("film_frames", "film_layers"), sheet=plates_sheet)
def inpaint_plates(
    out: Path,
    frames: Dataset[Frame],
    layers: Dataset[Layer],
    film_frames: Dataset[Frame],
    film_layers: Dataset[Layer],
    config: InpaintPlatesConfig,
) -> Iterator[Plate | Rejected]:
    """Yield plates spread over the shot; refuse those of which a network would make up too much.

    `film_frames` and `film_layers` are those of all shots: another shot may show what this one never uncovers.
    """
    pictures = [read_rgb(frames.path(frame.image)) for frame in frames]
    holes = [hole_of(frame, layers) for frame in frames]
    shot = ShotPlates(pictures, holes, inpainter(config.backend))
    elsewhere = OtherShots(film_frames, film_layers, frames.rows[0].shot)
    for done, index in enumerate(chosen := spread_indices(len(frames), config.per_shot)):
        frame = frames.rows[index]
        report_progress(done / len(chosen), frame.shot)
        if (covered := float(holes[index].mean())) > MAX_HOLE:
            yield Rejected(id=f"{frame.id}:plate", reason="mostly_covered", value=covered)
            continue
        plate = shot.make(index, elsewhere.views_like(pictures[index], config.views) if holes[index].any() else ())
        if (invented := plate.share(Origin.NETWORK)) > config.max_invented_share:
            yield Rejected(id=f"{frame.id}:plate", reason="mostly_invented", value=invented)
        else:
            yield plate_of(out, frame, plate)


def spread_indices(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` different indices, evenly spread over `count` items."""
    wanted = min(count, wanted)
    return [int((n + 0.5) * count / wanted) for n in range(wanted)]


def plate_of(out: Path, frame: Frame, plate: PlateImage) -> Plate:
    """Write the plate and where its pixels came from; return the row."""
    hole = plate.provenance != Origin.OWN
    grown: Picture = np.where(hole, 0, 255).astype(np.uint8)
    return Plate(
        id=f"{frame.id}:plate",
        **frame.moment(),
        frame_id=frame.id,
        image=keep_picture(out, plate.image),
        provenance=keep_picture(out, plate.provenance),
        hole=keep_picture(out, 255 - grown),
        hole_share=round(float(hole.mean()), 6),
        neighbour_share=round(float((plate.provenance[hole] == Origin.NEIGHBOUR).mean()) if hole.any() else 0.0, 6),
        invented_share=round(plate.share(Origin.NETWORK), 6),
        sharpness=round(sharpness(plate.image, grown), 3),
    )
