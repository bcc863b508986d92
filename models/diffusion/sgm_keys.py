"""SDXL's layers as Stability's own code (sgm) calls them, and so kohya's LoRA files.

A level of the U-Net is LAYERS residual blocks, each perhaps with attention, and a change of size. diffusers counts
levels and the blocks in them; sgm counts all blocks through, and the parts of a block: 0 the residual block, 1 the
attention, 2 what makes it larger.
"""

import re

from models.diffusion.lora_file import UNET_PREFIX, KeyFormat, Modules

LAYERS = 2
_RESIDUAL = {
    "conv1": "in_layers_2",
    "conv2": "out_layers_3",
    "time_emb_proj": "emb_layers_1",
    "conv_shortcut": "skip_connection",
}
_RESIDUAL_BACK = {ours: name for name, ours in _RESIDUAL.items()}
_PARTS = {"resnets": 0, "attentions": 1}
_DOWN = re.compile(r"down_blocks_(\d+)_(resnets|attentions)_(\d+)_(.+)")
_UP = re.compile(r"up_blocks_(\d+)_(resnets|attentions)_(\d+)_(.+)")
_MIDDLE = re.compile(r"mid_block_(resnets|attentions)_(\d+)_(.+)")
_SMALLER = re.compile(r"down_blocks_(\d+)_downsamplers_0_conv")
_LARGER = re.compile(r"up_blocks_(\d+)_upsamplers_0_conv")
_SGM = re.compile(r"(input_blocks|middle_block|output_blocks)_(\d+)_(.+)")


def to_sgm(modules: Modules) -> Modules:
    """Return modules of diffusers' U-Net under sgm's names."""
    return {_sgm_name(name): module for name, module in modules.items()}


def from_sgm(modules: Modules) -> Modules:
    """Return modules under diffusers' names; those that have them already keep them.

    Raises:
        ValueError: a name is neither's.
    """
    return {_diffusers_name(name): module for name, module in modules.items()}


def _sgm_name(name: str) -> str:
    if found := _SMALLER.fullmatch(name):
        return f"input_blocks_{(LAYERS + 1) * (int(found[1]) + 1)}_0_op"
    if found := _LARGER.fullmatch(name):
        return f"output_blocks_{(LAYERS + 1) * int(found[1]) + LAYERS}_2_conv"
    if found := _DOWN.fullmatch(name):
        block = (LAYERS + 1) * int(found[1]) + int(found[3]) + 1
        return f"input_blocks_{block}_{_PARTS[found[2]]}_{_RESIDUAL.get(found[4], found[4])}"
    if found := _UP.fullmatch(name):
        block = (LAYERS + 1) * int(found[1]) + int(found[3])
        return f"output_blocks_{block}_{_PARTS[found[2]]}_{_RESIDUAL.get(found[4], found[4])}"
    if found := _MIDDLE.fullmatch(name):
        part = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block_{part}_{_RESIDUAL.get(found[3], found[3])}"
    message = f"layer {name!r} is in no block of SDXL's U-Net"
    raise ValueError(message)


def _diffusers_name(name: str) -> str:
    if name.startswith(("down_blocks_", "mid_block_", "up_blocks_")):
        return name
    found = _SGM.fullmatch(name)
    if found is None:
        message = f"layer {name!r} is in no block of SDXL's U-Net"
        raise ValueError(message)
    side, number, rest = found[1], int(found[2]), found[3]
    if side == "middle_block":
        kind = "attentions_0" if number == 1 else f"resnets_{number // 2}"
        return f"mid_block_{kind}_{_RESIDUAL_BACK.get(rest, rest)}"
    part, _, layer = rest.partition("_")
    level, place = divmod(number - 1 if side == "input_blocks" else number, LAYERS + 1)
    direction = "down_blocks" if side == "input_blocks" else "up_blocks"
    if layer == "op":
        return f"{direction}_{level}_downsamplers_0_conv"
    if part == "2":
        return f"{direction}_{level}_upsamplers_0_{layer}"
    kind = "resnets" if part == "0" else "attentions"
    return f"{direction}_{level}_{kind}_{place}_{_RESIDUAL_BACK.get(layer, layer)}"


SDXL_KEYS = KeyFormat(
    "SDXL",
    {"unet": (UNET_PREFIX,), "text_encoder": ("lora_te1_",), "text_encoder_2": ("lora_te2_",)},
    to_sgm,
    from_sgm,
    embedding_keys={"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    base_version="sdxl_base_v1-0",
    architecture="stable-diffusion-xl-v1-base/lora",
)
