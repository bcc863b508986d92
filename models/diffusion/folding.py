"""LoRAs folded into the weights that they change, for as long as pictures are drawn.

A LoRA beside its layer costs two more small products a call, and each LoRA of a stack the same again; W + sum s B A
costs what W does. In half precision the sum would be rounded to the weights' few digits, and quantised weights cannot
take it: there, and where a DoRA changes a layer, adapters work beside their layers as they do in training.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from models.diffusion.dora import is_dora


@contextmanager
def folded(*networks: torch.nn.Module) -> Iterator[None]:
    """Have the adapters of `networks` that are on in their layers' weights; these are the same bits again afterwards.

    Adapters must neither be switched nor trained meanwhile.
    """
    layers: list[Any] = [module for network in networks for module in network.modules() if _can_fold(module)]
    kept = [(layer, layer.get_base_layer().weight.detach().clone()) for layer in layers]
    try:
        for layer in layers:
            _fold(layer)
        yield
    finally:
        for layer, weight in kept:
            layer.get_base_layer().weight.data.copy_(weight)
            layer.merged_adapters.clear()


def _can_fold(module: torch.nn.Module) -> bool:
    if not isinstance(module, LoraLayer) or module.disable_adapters or module.merged:
        return False
    base: Any = module.get_base_layer()
    plain = type(base) in {torch.nn.Linear, torch.nn.Conv2d} and base.weight.dtype == torch.float32
    return plain and bool(_active(module)) and not any(is_dora(module, name) for name in _active(module))


@torch.no_grad()
def _fold(layer: Any) -> None:  # noqa: ANN401  a peft LoraLayer, whose members no type declares
    weight = layer.get_base_layer().weight.data
    for name in _active(layer):
        weight += layer.get_delta_weight(name)
        layer.merged_adapters.append(name)


def _active(layer: Any) -> list[str]:  # noqa: ANN401  as above
    return [name for name in layer.active_adapters if name in layer.lora_A]
