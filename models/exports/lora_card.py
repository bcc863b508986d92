"""The model card of a release, README.md, in the form that the Hugging Face hub reads."""

from collections.abc import Collection, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_contracts.records import BaseFamily
from models.diffusion.merge import Merged
from models.exports.lora_release import Release

FAMILY_NAMES: Mapping[BaseFamily, str] = {
    "sd15": "Stable Diffusion 1.x",
    "sdxl": "Stable Diffusion XL",
    "flux": "FLUX.1",
    "qwen_image": "Qwen-Image",
    "qwen_image_edit": "Qwen-Image-Edit",
}
SETTINGS = (
    "rank",
    "alpha",
    "conv_rank",
    "dora",
    "embedding_vectors",
    "learning_rate",
    "text_encoder_learning_rate",
    "batch",
    "resolution",
    "seed",
)
"""The settings of a training that the card names."""


def model_card(release: Release, files: Collection[str], merged: Merged | None) -> str:
    """Return the card of a release whose folder holds `files`."""
    folder = FileSystemLoader(Path(__file__).parent)
    plain = Environment(loader=folder, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701  Markdown
    return plain.get_template("lora_card.md.j2").render(
        release=release,
        family=FAMILY_NAMES[release.family],
        films=sorted({film for each in release.loras for film in each.films}),
        files=files,
        merged=merged,
        SETTINGS=SETTINGS,
    )
