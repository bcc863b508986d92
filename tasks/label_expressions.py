"""Read the expression of every layer's face, steadied along its track."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Expression, Frame, Layer, Rejected
from data_contracts.stages import LabelExpressionsConfig
from models.face import EXPRESSION_LABELERS, FACE_DETECTORS, NO_FACE
from models.face.smoothing import TimedGuess, smooth_track
from models.pictures import read_grey, read_rgb
from models.sheets import expressions_sheet
from tasks.stage import stage

detector = lru_cache(maxsize=1)(FACE_DETECTORS.load)
labeler = lru_cache(maxsize=1)(EXPRESSION_LABELERS.load)


@stage(Expression, version=1, by="shot", sheet=expressions_sheet)
def label_expressions(
    out: Path,  # noqa: ARG001
    layers: Dataset[Layer],
    frames: Dataset[Frame],
    config: LabelExpressionsConfig,
) -> Iterator[Expression | Rejected]:
    """Yield the expression of each layer; "unknown" where no face is seen clearly."""
    for track in layers.groups("track").values():
        seen = [guess_of(layer, layers, frames, config) for layer in track]
        for layer, timed, steady in zip(track, seen, smooth_track(seen), strict=True):
            yield Expression(
                id=f"{layer.id}:expression",
                **layer.moment(),
                layer_id=layer.id,
                track=layer.track,
                label=steady.label,
                confidence=round(min(1.0, max(0.0, steady.confidence)), 6),
                face_box=timed.face_box and rounded(timed.face_box),
            )


def guess_of(
    layer: Layer, layers: Dataset[Layer], frames: Dataset[Frame], config: LabelExpressionsConfig
) -> TimedGuess:
    """Return what one layer's face shows by itself."""
    picture = read_rgb(frames.path(frames.by_id[layer.frame_id].image))
    alpha = read_grey(layers.path(layer.mask))
    face = detector(config.detector).find(picture, alpha)
    if face is None:
        return TimedGuess(layer.time_s, None, NO_FACE)
    return TimedGuess(layer.time_s, face.box, labeler(config.backend).label(picture, alpha, face))


def rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box in hundredths of a pixel."""
    x0, y0, x1, y1 = box
    return round(float(x0), 2), round(float(y0), 2), round(float(x1), 2), round(float(y1), 2)
