"""A run's rows beside the truth of the film frames that they came from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_contracts.dataset import Dataset, R, read_dataset
from data_contracts.faults import InputFault
from data_contracts.records import Frame, Layer
from models.metrics.overlap import FrameOverlap, Mask, frame_overlap
from models.metrics.truth import TrueCharacter, TruePicture, Truth
from tasks.run_record import RunRecord

FOREGROUND = 128
MAX_ASPECT_CHANGE = 0.05
"""Working sizes are rounded to the networks' strides; beyond this, the picture was cropped and nothing lines up."""


@dataclass(frozen=True)
class StageResults:
    """What the shared stages of a run left in the workspace."""

    workspace: Path
    run: RunRecord

    def rows(self, stage: str, record: type[R]) -> Dataset[R] | None:
        """Return the dataset of the run's stage, or None where the run did not use it.

        Raises:
            InputFault: the run used several results of the stage, or the result is no longer there.
        """
        digests = sorted({use.digest for use in self.run.stages if use.stage == stage and not use.label})
        if not digests:
            return None
        if len(digests) > 1:
            message = f"run {self.run.name} used {len(digests)} results of {stage}: only a run with one can be measured"
            raise InputFault(message)
        return self._read(self.workspace / stage / digests[0], record)

    def by_label(self, stage: str, record: type[R]) -> dict[str, Dataset[R]]:
        """Return the datasets of a stage that the run used for each LoRA, by the LoRA's name.

        Raises:
            InputFault: a result is no longer there.
        """
        uses = [use for use in self.run.stages if use.stage == stage and use.label]
        return {use.label: self._read(self.workspace / use.key, record) for use in uses}

    def _read(self, folder: Path, record: type[R]) -> Dataset[R]:
        records = folder / "records.parquet"
        if not records.is_file():
            stage = folder.parent.name
            message = f"run {self.run.name} used {stage}, but {records} is missing: run the project again"
            raise InputFault(message)
        return read_dataset(folder, record)


class TruthJoin:
    """Joins rows to truth by film frame: each true picture is held for `hold` frames of the film.

    Raises:
        InputFault: the run has no frames of the film, or its length is no whole multiple of the truth's.
    """

    def __init__(self, results: StageResults, truth: Truth, film: str = "") -> None:
        self.results = results
        self.truth = truth
        frames = results.rows("extract_frames", Frame)
        if frames is None:
            message = f"run {results.run.name} used no extract_frames: without frames there is nothing to measure"
            raise InputFault(message)
        self.film = _only_film(frames, film)
        self.frames = frames.where("film", self.film)
        self.hold = _hold(self.frames, truth)

    def rows(self, stage: str, record: type[R]) -> Dataset[R] | None:
        """Return the stage's rows of this film, or None where the run did not use the stage."""
        rows = self.results.rows(stage, record)
        return None if rows is None else rows.where("film", self.film)

    def picture(self, film_frame: int) -> TruePicture:
        """Return the truth of a film frame.

        Raises:
            InputFault: the film frame lies beyond the truth's last picture.
        """
        number = film_frame // self.hold
        if number >= len(self.truth.pictures):
            message = f"film frame {film_frame} is picture {number}, but {self.truth.folder} ends at picture "
            message += f"{len(self.truth.pictures) - 1}: name the truth of film {self.film}"
            raise InputFault(message)
        return self.truth.pictures[number]

    @cached_property
    def layers(self) -> Dataset[Layer] | None:
        """The layers of this film, or None where the run did not use `segment_layers`."""
        return self.rows("segment_layers", Layer)

    @cached_property
    def overlaps(self) -> dict[int, FrameOverlap]:
        """How the layers of each sampled film frame cover its characters."""
        layers = self.layers
        if layers is None:
            return {}
        grouped: dict[int, list[Layer]] = {frame.frame: [] for frame in self.frames}
        for layer in layers:
            grouped.setdefault(layer.frame, []).append(layer)
        return {
            number: frame_overlap(
                {layer.id: self._mask(layers.path(layer.mask)) for layer in grouped[number]},
                self.truth.masks(self.picture(number)),
            )
            for number in sorted(grouped)
        }

    @cached_property
    def shown(self) -> dict[str, str]:
        """The character that each layer shows, empty for none."""
        return {layer: name for overlap in self.overlaps.values() for layer, name in overlap.shown.items()}

    @cached_property
    def layer_truth(self) -> dict[str, TrueCharacter]:
        """The truth of each layer that shows a character."""
        truth = {}
        for number, overlap in self.overlaps.items():
            for layer, name in overlap.shown.items():
                if (character := self.picture(number).character(name)) is not None:
                    truth[layer] = character
        return truth

    def known_layer(self, layer_id: str) -> str:
        """Return the id of a layer that a row is of.

        Raises:
            InputFault: the layer is not one of this run's.
        """
        if layer_id not in self.shown:
            message = f"layer {layer_id} has labels but is not among the run's layers: run the project again"
            raise InputFault(message)
        return layer_id

    def _mask(self, path: Path) -> Mask:
        """Read a layer's mask at the truth's size."""
        return fitted(np.asarray(Image.open(path).convert("L")), self.truth.size) >= FOREGROUND


def fitted(picture: NDArray[np.uint8], size: tuple[int, int], *, classes: bool = False) -> NDArray[np.uint8]:
    """Return an `(H, W)` or `(H, W, 3)` uint8 picture at the truth's width and height; classes are never blended.

    Raises:
        InputFault: the picture has another shape than the truth, so that its pixels show other parts of the film.
    """
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    if abs((width / height) / (size[0] / size[1]) - 1) > MAX_ASPECT_CHANGE:
        message = f"a result of {width}x{height} cannot be laid over a truth of {size[0]}x{size[1]}: "
        message += "the shapes differ; name the truth of this film, of the same crop"
        raise InputFault(message)
    if classes:
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    shrinks = width > size[0]
    return np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def _only_film(frames: Dataset[Frame], film: str) -> str:
    """Return the id of the film to measure: the named one, else the run's only one."""
    films = sorted({frame.film for frame in frames})
    if film and film not in films:
        message = f"the run has no frames of film {film!r}: its films are {', '.join(films)}"
        raise InputFault(message)
    if not film and len(films) != 1:
        message = f"the run has {len(films)} films ({', '.join(films)}) and a truth is of one: name the film"
        raise InputFault(message)
    return film or films[0]


def _hold(frames: Dataset[Frame], truth: Truth) -> int:
    """Return for how many film frames each true picture is held."""
    film_frames, pictures = max(frame.film_frames for frame in frames), len(truth.pictures)
    if film_frames % pictures:
        message = f"the film has {film_frames} frames, which is no whole multiple of the {pictures} pictures of "
        message += f"{truth.folder}: name the truth of this very film"
        raise InputFault(message)
    return film_frames // pictures
