"""FLUX's layers as its authors' code calls them, and so kohya's LoRA files.

There, query, key and value are one layer, and in a single block the first half of its MLP with them. A LoRA of the
parts is one of the whole: the parts' down-projections below each other, their up-projections on a diagonal of blocks.
"""

# mypy: disable-error-code="no-untyped-call"

import re
from collections.abc import Mapping, Sequence

import torch

from models.diffusion.lora_file import UNET_PREFIX, KeyFormat, LoraModule, Modules

_PLAIN = {
    "transformer_blocks": {
        "attn_to_out_0": "img_attn_proj",
        "attn_to_add_out": "txt_attn_proj",
        "ff_net_0_proj": "img_mlp_0",
        "ff_net_2": "img_mlp_2",
        "ff_context_net_0_proj": "txt_mlp_0",
        "ff_context_net_2": "txt_mlp_2",
        "norm1_linear": "img_mod_lin",
        "norm1_context_linear": "txt_mod_lin",
    },
    "single_transformer_blocks": {"proj_out": "linear2", "norm_linear": "modulation_lin"},
}
_JOINED: dict[str, dict[str, tuple[str, ...]]] = {
    "transformer_blocks": {
        "img_attn_qkv": ("attn_to_q", "attn_to_k", "attn_to_v"),
        "txt_attn_qkv": ("attn_add_q_proj", "attn_add_k_proj", "attn_add_v_proj"),
    },
    "single_transformer_blocks": {"linear1": ("attn_to_q", "attn_to_k", "attn_to_v", "proj_mlp")},
}
_BLOCKS = {"transformer_blocks": "double_blocks", "single_transformer_blocks": "single_blocks"}
_BLOCKS_BACK = {theirs: ours for ours, theirs in _BLOCKS.items()}
_OURS = re.compile(r"(transformer_blocks|single_transformer_blocks)_(\d+)_(.+)")
_THEIRS = re.compile(r"(double_blocks|single_blocks)_(\d+)_(.+)")
_MLP = "proj_mlp"
_MLP_RATIO = 4


def to_flux(modules: Modules) -> Modules:
    """Return modules of diffusers' transformer under FLUX's own names, joined where FLUX's layers are.

    Raises:
        ValueError: a layer is in no block, or parts that are joined have different ranks or alphas.
    """
    named: Modules = {}
    parts: dict[tuple[str, str, str], dict[str, LoraModule]] = {}
    for name, module in modules.items():
        blocks, number, layer = _split(_OURS, name)
        if plain := _PLAIN[blocks].get(layer):
            named[f"{_BLOCKS[blocks]}_{number}_{plain}"] = module
            continue
        whole = next((whole for whole, layers in _JOINED[blocks].items() if layer in layers), None)
        if whole is None:
            message = f"layer {name!r} has no name in FLUX's own code"
            raise ValueError(message)
        parts.setdefault((blocks, number, whole), {})[layer] = module
    for (blocks, number, whole), found in parts.items():
        named[f"{_BLOCKS[blocks]}_{number}_{whole}"] = _join(found, _JOINED[blocks][whole])
    return named


def from_flux(modules: Modules) -> Modules:
    """Return modules under diffusers' names, parts that FLUX's own layers join apart.

    Raises:
        ValueError: a layer is not one of FLUX's.
    """
    named: Modules = {}
    for name, module in modules.items():
        theirs, number, layer = _split(_THEIRS, name)
        blocks = _BLOCKS_BACK[theirs]
        back = {file: ours for ours, file in _PLAIN[blocks].items()}
        if layer in back:
            named[f"{blocks}_{number}_{back[layer]}"] = module
        elif layer in _JOINED[blocks]:
            apart = _part(module, _JOINED[blocks][layer])
            named |= {f"{blocks}_{number}_{part}": found for part, found in apart.items()}
        else:
            message = f"layer {name!r} is not one of FLUX's"
            raise ValueError(message)
    return named


def _split(pattern: re.Pattern[str], name: str) -> tuple[str, str, str]:
    found = pattern.fullmatch(name)
    if found is None:
        message = f"layer {name!r} is in no block of FLUX's transformer"
        raise ValueError(message)
    return found[1], found[2], found[3]


def _join(found: Mapping[str, LoraModule], layers: Sequence[str]) -> LoraModule:
    """Return one module for all `layers`; those that are not among the found change nothing."""
    first = next(iter(found.values()))
    if any((module.rank, module.alpha) != (first.rank, first.alpha) for module in found.values()):
        message = f"the parts {', '.join(found)} of one layer have different ranks or alphas: one of each is written"
        raise ValueError(message)
    downs, ups = [], []
    for layer in layers:
        rows = first.up.shape[0] * (_MLP_RATIO if layer == _MLP and _MLP not in found else 1)
        module = found.get(layer)
        downs.append(torch.zeros_like(first.down) if module is None else module.down)
        ups.append(first.up.new_zeros((rows, first.rank)) if module is None else module.up)
    return LoraModule(torch.cat(downs), torch.block_diag(*ups), first.alpha * len(layers))


def _part(module: LoraModule, layers: Sequence[str]) -> dict[str, LoraModule]:
    """Return the modules of the parts: as `_join` joined them, or, in any other file, all with the same down."""
    rows = module.up.shape[0] // (len(layers) - 1 + (_MLP_RATIO if _MLP in layers else 1))
    ups = module.up.split([rows * (_MLP_RATIO if layer == _MLP else 1) for layer in layers])
    rank = module.rank // len(layers)
    blocks = [up[:, place * rank : (place + 1) * rank] for place, up in enumerate(ups)]
    joined = module.rank % len(layers) == 0 and torch.equal(torch.block_diag(*blocks), module.up)
    if not joined:
        return {layer: LoraModule(module.down, up, module.alpha) for layer, up in zip(layers, ups, strict=True)}
    downs = module.down.split(rank)
    return {
        layer: LoraModule(down, up.contiguous(), module.alpha / len(layers))
        for layer, down, up in zip(layers, downs, blocks, strict=True)
        if bool(down.any()) or bool(up.any())
    }


FLUX_KEYS = KeyFormat(
    "FLUX.1",
    {"unet": (UNET_PREFIX,)},
    to_flux,
    from_flux,
    magnitude_ending="",  # of a joined layer's parts that are not trained, no lengths are known
    base_version="flux1",
    network_module="networks.lora_flux",
    architecture="flux-1-dev/lora",
)
