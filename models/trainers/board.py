"""A training's losses and pictures as TensorBoard reads them: `tensorboard --logdir FOLDER`.

The event files are written anew from the training's own logs each time it is taken up, so that no step is in them twice
and none is lost with what a killed process had not written yet.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.training import TrainRequest
from data_contracts.validations import Validation, drawn_path
from models.backends import Backend, Backends
from models.pictures import read_rgb
from models.weights import TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def _tensorboard(folder: Path) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    return SummaryWriter(str(folder))


EVENT_FILES: "Backends[SummaryWriter]" = Backends("event file", {"tensorboard": Backend(_tensorboard, (TENSORBOARD,))})
"""What writes event files into a folder."""


class Board:
    """The event files of one training."""

    def __init__(self, request: TrainRequest, finished: int) -> None:
        """Begin them anew, with the sample pictures of the steps that are finished.

        Raises:
            MissingWeights: tensorboard is not installed.
        """
        self.output = request.output
        self._shown: set[str] = set()
        folder = request.output / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = EVENT_FILES.load("tensorboard", folder)
        for path in sorted((request.output / "samples").glob("step-*.png")):
            if _step_of(path) <= finished:
                self.sample(path)

    def step(self, entry: dict[str, Any]) -> None:
        """Add a line of loss.jsonl."""
        self._writer.add_scalar("loss/learnt batch", entry["loss"], entry["step"])
        self._writer.add_scalar("learning rate", entry["learning_rate"], entry["step"])

    def validation(self, entry: dict[str, Any]) -> None:
        """Add a line of validation.jsonl, with the pictures that it drew."""
        found = Validation.model_validate(entry)
        values = {"loss/held out": found.loss, "loss/learnt": found.learnt_loss}
        if found.drawn:
            values |= {"drawn/likeness": found.drawn.mean_likeness, "drawn/text": found.drawn.mean_text}
            values |= {"drawn/diversity": found.drawn.diversity, "drawn/copies": found.drawn.copies}
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, found.step)
        for number in range(found.drawn.pictures if found.drawn else 0):
            path = drawn_path(self.output, found.step, number)
            self._writer.add_image(f"drawn/{number}", read_rgb(path), found.step, dataformats="HWC")

    def sample(self, path: Path) -> None:
        """Add a sample picture, called `step-<step>-<prompt>.png`, once."""
        if path.name in self._shown:
            return
        self._shown.add(path.name)
        number = path.stem.rsplit("-", 1)[1]
        self._writer.add_image(f"sample/{number}", read_rgb(path), _step_of(path), dataformats="HWC")

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


def _step_of(path: Path) -> int:
    return int(path.stem.split("-")[1])
