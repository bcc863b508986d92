"""DoRA: a LoRA that learns the length of each row of a weight apart from its direction, and how strongly it is used.

A row w of a weight W becomes m (w + d) / |w + d|, d being the same row of alpha / rank * B A. Liu et al., DoRA:
Weight-Decomposed Low-Rank Adaptation, 2024, whose rows, those of one output, are peft's and LyCORIS's (`wd_on_out`).
"""

# Any: a peft LoraLayer, whose adapters are members that no type declares.
# ruff: noqa: ANN401

from collections.abc import Mapping
from typing import Any

import torch
from peft.utils.integrations import dequantize_module_weight

TINY = 1e-6
_TRAINED, _NOW = "dora_as_trained", "dora_strengths"


def is_dora(layer: Any, name: str) -> bool:
    """Whether a layer's adapter `name` has magnitudes."""
    return name in layer.lora_magnitude_vector


def set_dora_strengths(layer: Any, strengths: Mapping[str, float]) -> None:
    """Have the DoRAs that are a layer's first active adapters, in this order, change its weight as if each were alone.

    A DoRA of strength s adds s times what it changes, s (g (w + d) - w) with g = m / |w + d|, as LyCORIS and ComfyUI
    understand it. peft would scale d alone, which at 0 is not the base model, and have each DoRA stretch what those
    before it made. So here the first one stretches w for all, by 1 + sum s_i (g_i - 1), and the others by nothing.
    """
    if layer.__dict__.get(_NOW) == list(strengths.items()):
        return
    layer.__dict__[_NOW] = list(strengths.items())
    trained = {name: _trained(layer, name) for name in strengths}
    if list(strengths.values()) == [1.0]:
        (name,) = strengths
        _put(layer, name, *trained[name])
        return
    weight = dequantize_module_weight(layer.get_base_layer()).float().flatten(1)  # (out, in…)
    changes = {name: _change(layer, name, up) for name, (up, _) in trained.items()}
    gains = {
        name: magnitude.float().flatten() / (weight + changes[name]).norm(dim=1)  # (out,)
        for name, (_, magnitude) in trained.items()
    }
    stretch = 1 + sum(strength * (gains[name] - 1) for name, strength in strengths.items())
    stretch = torch.where(stretch.abs() < TINY, TINY, stretch)
    for name, strength in strengths.items():
        up, magnitude = trained[name]
        share = strength * gains[name] / stretch
        length = stretch * (weight + share[:, None] * changes[name]).norm(dim=1)
        _put(layer, name, up * share.reshape(-1, *[1] * (up.dim() - 1)), length.reshape(magnitude.shape))
        stretch = torch.ones_like(stretch)


def _trained(layer: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an adapter's up-projection and magnitudes as they were loaded."""
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = layer.__dict__.setdefault(_TRAINED, {})
    if name not in kept:
        up, magnitude = layer.lora_B[name].weight, layer.lora_magnitude_vector[name].weight
        kept[name] = up.data.clone(), magnitude.data.clone()
    return kept[name]


def _change(layer: Any, name: str, up: torch.Tensor) -> torch.Tensor:
    """Return what an adapter adds to the weight before its rows are stretched, (out, in…)."""
    down = layer.lora_A[name].weight.float().flatten(1)  # (rank, in…)
    change: torch.Tensor = float(layer.scaling[name]) * up.float().flatten(1) @ down
    return change


def _put(layer: Any, name: str, up: torch.Tensor, magnitude: torch.Tensor) -> None:
    layer.lora_B[name].weight.data.copy_(up)
    layer.lora_magnitude_vector[name].weight.data.copy_(magnitude)
