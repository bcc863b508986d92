"""Take the characters out: true pixels from other frames of the shot first, a network for what none of them shows."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Plate, Rejected
from data_contracts.stages import InpaintPlatesConfig
from models.inpaint import INPAINTERS
from models.inpaint.provenance import Origin, PlateImage, ShotPlates
from models.pictures import Picture, keep_picture, read_rgb
from models.sheets import plates_sheet
from models.shots.quality import sharpness
from tasks.other_shots import OtherShots, hole_of, spread_indices
from tasks.progress import report_progress
from tasks.stage import stage

inpainter = lru_cache(maxsize=1)(INPAINTERS.load)
MAX_HOLE = 0.9  # of a picture; beyond it nothing is left to go by


@stage(Plate, version=10, by="shot", of_film=("film_frames", "film_layers"), sheet=plates_sheet)
def inpaint_plates(
    out: Path,
    frames: Dataset[Frame],
    layers: Dataset[Layer],
    film_frames: Dataset[Frame],
    film_layers: Dataset[Layer],
    config: InpaintPlatesConfig,
) -> Iterator[Plate | Rejected]:
    """Yield plates spread over the shot; refuse what a network would mostly make up and what still shows somebody.

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
        elif (unsure := plate.share(Origin.UNSURE)) > config.max_unsure_share:
            yield Rejected(id=f"{frame.id}:plate", reason="mostly_unsure", value=unsure)
        elif plate.residue > config.max_residue_share:
            yield Rejected(id=f"{frame.id}:plate", reason="character_left", value=plate.residue)
        else:
            yield plate_of(out, frame, plate)


def plate_of(out: Path, frame: Frame, plate: PlateImage) -> Plate:
    """Write the plate and where its pixels came from; return the row."""
    hole = plate.provenance != Origin.OWN
    sources = plate.provenance[hole]
    grown: Picture = np.where(hole, 0, 255).astype(np.uint8)
    return Plate(
        id=f"{frame.id}:plate",
        **frame.moment(),
        frame_id=frame.id,
        image=keep_picture(out, plate.image),
        provenance=keep_picture(out, plate.provenance),
        hole=keep_picture(out, 255 - grown),
        hole_share=round(float(hole.mean()), 6),
        neighbour_share=_share(sources, Origin.NEIGHBOUR),
        other_shot_share=_share(sources, Origin.OTHER_SHOT),
        residue_share=round(plate.residue, 6),
        invented_share=round(plate.share(Origin.NETWORK), 6),
        unsure_share=round(plate.share(Origin.UNSURE), 6),
        sharpness=round(sharpness(plate.image, grown), 3),
    )


def _share(sources: NDArray[np.uint8], origin: Origin) -> float:
    """Return which part of the pixels `sources` (n,) came from `origin`, 0 of none."""
    return round(float((sources == origin).mean()), 6) if sources.size else 0.0
