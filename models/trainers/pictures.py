"""What a training draws while it learns, each picture from the same noise every time."""

from pathlib import Path

from data_contracts.training import TrainSettings
from models.diffusion.families import DiffusionModel, Drawing
from models.pictures import Picture, encode_png
from models.trainers.examples import covering


def draw_one(
    model: DiffusionModel, prompt: str, seed: int, settings: TrainSettings, edited: Picture | None = None
) -> Picture:
    """Return a square picture `(H, W, 3) RGB` uint8 of the prompt, with the adapters that are on.

    edited: what is edited into it, where the family edits.
    """
    square = (settings.resolution, settings.resolution)
    controls = () if edited is None else (covering(edited, square),)
    drawing = Drawing(settings.sample_steps, settings.sample_guidance, settings.resolution, controls)
    return model.sample([prompt], "", [seed], drawing)[0]


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture, beside and renamed; its folder is made where it is missing."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(encode_png(picture))
    beside.replace(path)
