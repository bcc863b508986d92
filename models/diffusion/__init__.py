"""Diffusion models: one module a family, and what all need: LoRA files, stacks of them, the loss, and generation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from data_contracts.lora_stages import MOST_CLIP_TOKENS
from data_contracts.records import BaseFamily
from models.backends import Backend, Backends
from models.diffusion.single_file import checkpoint_family, configuration_folder

if TYPE_CHECKING:
    from models.diffusion.families import DiffusionModel


def _sd15(base: Path, precision: Precision, device: str | None) -> "DiffusionModel":
    from models.diffusion import sd15  # noqa: PLC0415

    return sd15.load(base, precision, device)


def _sdxl(base: Path, precision: Precision, device: str | None) -> "DiffusionModel":
    from models.diffusion import sdxl  # noqa: PLC0415

    return sdxl.load(base, precision, device)


def _flux(base: Path, precision: Precision, device: str | None) -> "DiffusionModel":
    from models.diffusion import flux  # noqa: PLC0415

    return flux.load(base, precision, device)


def _qwen_image(base: Path, precision: Precision, device: str | None) -> "DiffusionModel":
    from models.diffusion import qwen_image  # noqa: PLC0415

    return qwen_image.load(base, precision, device)


def _qwen_image_edit(base: Path, precision: Precision, device: str | None) -> "DiffusionModel":
    from models.diffusion import qwen_image_edit  # noqa: PLC0415

    return qwen_image_edit.load(base, precision, device)


FAMILIES: "Backends[DiffusionModel]" = Backends(
    "family of base models",
    {
        "sd15": Backend(_sd15),
        "sdxl": Backend(_sdxl),
        "flux": Backend(_flux),
        "qwen_image": Backend(_qwen_image),
        "qwen_image_edit": Backend(_qwen_image_edit),
    },
)
PIPELINES: dict[str, BaseFamily] = {
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
    "FluxPipeline": "flux",
    "QwenImagePipeline": "qwen_image",
    "QwenImageEditPipeline": "qwen_image_edit",
}
"""The family of a diffusers folder, by the `_class_name` in its model_index.json."""


@dataclass(frozen=True)
class Window:
    """How many tokens of a prompt a family reads, ends included, and the folder of the tokenizer that makes them.

    What CLIP reads of Stable Diffusion's prompts is read in parts, where it is too long for one.
    """

    tokens: int
    tokenizer: str = "tokenizer"


WINDOWS: Mapping[BaseFamily, Window] = {
    "sd15": Window(MOST_CLIP_TOKENS),
    "sdxl": Window(MOST_CLIP_TOKENS),
    "flux": Window(512, "tokenizer_2"),
    "qwen_image": Window(1024),
    "qwen_image_edit": Window(1024),
}


def family_of(base: Path) -> BaseFamily:
    """Return the family of the base model in the diffusers folder, or the single checkpoint, `base`.

    Raises:
        InputFault: it holds no pipeline of a known family.
    """
    if base.is_file():
        return checkpoint_family(base)
    try:
        kind = str(json.loads((base / "model_index.json").read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = (
            f"base model {base} has no model_index.json that names a pipeline: "
            "give the folder of a diffusers pipeline, or one .safetensors checkpoint"
        )
        raise InputFault(message) from error
    if kind not in PIPELINES:
        message = f"base model {base} is a {kind}; known are {', '.join(PIPELINES)}"
        raise InputFault(message)
    return PIPELINES[kind]


def tokenizer_folder(base: Path) -> Path:
    """Return the folder of the tokenizer by which prompts to `base` are counted; no one has looked into it yet.

    Raises:
        InputFault: `base` is of no known family, or a checkpoint whose configuration is not in the hub's cache.
    """
    folder = configuration_folder(base) if base.is_file() else base
    return folder / WINDOWS[family_of(base)].tokenizer


def no_clip_skip(family: BaseFamily) -> str:
    """Return why a family cannot read another layer of its text encoder, and what to do; empty where it can."""
    if family == "sd15":
        return ""
    return f"clip_skip is above 1, but {family} reads the layers that it was trained with: set clip_skip to 1"


def load_base(
    base: Path, precision: Precision = "float32", device: str | None = None, clip_skip: int = 1
) -> "DiffusionModel":
    """Return the base model in `base`, a diffusers folder or a checkpoint, on the GPU where there is one.

    clip_skip: which layer of the text encoder is read, from the last, counted from 1.

    Raises:
        InputFault: it holds no pipeline of a known family, or has no such layer.
        MissingWeights: it is a checkpoint, and its configuration files are not in the hub's cache.
    """
    family = family_of(base)
    if clip_skip > 1 and (fault := no_clip_skip(family)):
        raise InputFault(fault)
    model = FAMILIES.load(family, base, precision, device)
    if clip_skip == 1:
        return model
    from models.diffusion import sd15  # noqa: PLC0415

    return sd15.reading_layer(cast("sd15.StableDiffusion", model), clip_skip)
