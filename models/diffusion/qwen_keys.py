"""Qwen-Image's layers in LoRA files: as diffusers calls them, behind the prefix that ComfyUI and diffusers know."""

import re
from dataclasses import replace

from models.diffusion.lora_file import KeyFormat, Modules

_BLOCK = re.compile(r"transformer_blocks_(\d+)_(attn|img_mlp|txt_mlp|img_mod|txt_mod)_(.+)")
_LAYERS = {"to_out_0": "to_out.0", "net_0_proj": "net.0.proj", "net_2": "net.2"}


def to_dotted(modules: Modules) -> Modules:
    """Return modules by the names that their layers have in the network.

    Raises:
        ValueError: a layer is in no block of the transformer.
    """
    return {_dotted(name): module for name, module in modules.items()}


def from_dotted(modules: Modules) -> Modules:
    """Return modules with underscores for dots."""
    return {name.replace(".", "_"): module for name, module in modules.items()}


def _dotted(name: str) -> str:
    found = _BLOCK.fullmatch(name)
    if found is None:
        message = f"layer {name!r} is in no block of Qwen-Image's transformer"
        raise ValueError(message)
    number, part, layer = found.groups()
    return f"transformer_blocks.{number}.{part}.{_LAYERS.get(layer, layer)}"


QWEN_KEYS = KeyFormat(
    "Qwen-Image",
    {"unet": ("diffusion_model.",)},
    to_dotted,
    from_dotted,
    endings=(".lora_A.weight", ".lora_B.weight", ".alpha"),
    base_version="qwen_image",
    network_module="networks.lora_qwen_image",
    architecture="Qwen-Image/lora",
)
QWEN_EDIT_KEYS = replace(
    QWEN_KEYS, family="Qwen-Image-Edit", base_version="qwen_image_edit", architecture="Qwen-Image-Edit/lora"
)
