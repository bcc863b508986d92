"""What a training draws while it learns, each picture from the same noise every time."""

from collections.abc import Sequence
from pathlib import Path

from data_contracts.training import TrainSettings
from data_contracts.whole_file import whole_file
from models.diffusion.drawing import Drawing
from models.diffusion.families import DiffusionModel, networks_of
from models.diffusion.folding import folded
from models.pictures import Picture, encode_png
from models.trainers.examples import covering


def draw(
    model: DiffusionModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    settings: TrainSettings,
    edited: Sequence[Picture | None],
) -> list[Picture]:
    """Return a square picture `(H, W, 3) RGB` uint8 of each prompt and its seed, with the adapters that are on.

    edited: what is edited into each; None where the family does not edit.
    """
    square = (settings.resolution, settings.resolution)
    controls = tuple(covering(each, square) for each in edited if each is not None)
    drawing = Drawing(settings.sample_steps, settings.sample_guidance, settings.resolution, controls)
    with folded(*networks_of(model).values()):
        return model.sample(prompts, "", seeds, drawing)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture, whole or not at all; its folder is made where it is missing."""
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as beside:
        beside.write_bytes(encode_png(picture))
