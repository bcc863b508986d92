"""A weighted stack of LoRAs as one LoRA, for programs and people that want one file.

What a stack adds to a layer is sum_i w_i alpha_i / r_i B_i A_i, of a rank of at most sum_i r_i: one matrix of all B
side by side times one of all A below each other. Cut to its largest singular values it is the nearest change of a
lower rank. Eckart and Young, The approximation of one matrix by another of lower rank, 1936.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data_contracts.faults import InputFault
from models.diffusion.lora_file import LoraModule, LoraWeights, Modules
from models.diffusion.subspaces import NETWORKS, product

Stack = Sequence[tuple[LoraWeights, float]]
"""LoRAs of one family, each with its weight."""
Parts = Sequence[tuple[LoraModule, float]]
"""What the LoRAs of a stack change in one layer."""


@dataclass(frozen=True)
class Merged:
    """A stack as one LoRA, without metadata.

    rank, conv_rank: inner dimension of its layers, and of those with a kernel of several pixels, 0 without such.
    kept: share of the stack's energy, its squared change, that is left, 0..1.
    """

    weights: LoraWeights
    rank: int
    conv_rank: int
    kept: float


def largest_rank(stack: Stack) -> int:
    """Return the largest rank that a layer of one of the LoRAs has."""
    return max(module.rank for weights, _ in stack for network in NETWORKS for module in weights.of(network).values())


def merge(stack: Stack, rank: int | None = None) -> Merged:
    """Return a stack as one LoRA of at most this rank; None: as much as the stack has, so that nothing is lost.

    All layers get one rank, and those with larger kernels one of their own, as in a LoRA that was trained: changes of
    less are filled up with zeros. alpha is the rank.

    Raises:
        InputFault: the stack changes nothing, the LoRAs change layers of different shapes, or one is a DoRA.
    """
    if any(weights.is_dora for weights, _ in stack):
        message = "a DoRA's change hangs on the base model's weights, so no LoRA file is its equal: it is not merged"
        raise InputFault(message)
    layers = {network: _layers(stack, network) for network in NETWORKS}
    every = [(network, name, parts) for network, named in layers.items() for name, parts in named.items()]
    ranks = {False: 0, True: 0}
    for _, name, parts in every:
        _check_shapes(name, parts)
        wide = _is_wide(parts)
        ranks[wide] = max(ranks[wide], min(_full_rank(parts), rank or _full_rank(parts)))
    merged: dict[str, Modules] = {network: {} for network in NETWORKS}
    before = after = 0.0
    for network, name, parts in every:
        merged[network][name], whole, left = _merge_layer(parts, ranks[_is_wide(parts)])
        before, after = before + whole, after + left
    if before == 0:
        message = "the stack changes nothing: give a LoRA that was trained, and a weight other than 0"
        raise InputFault(message)
    weights = LoraWeights(merged["unet"], merged["text_encoder"], {}, merged["text_encoder_2"])
    return Merged(weights, ranks[False], ranks[True], after / before)


def _layers(stack: Stack, network: str) -> dict[str, Parts]:
    """Return the modules and their weights by layer, in the stack's order."""
    layers: dict[str, list[tuple[LoraModule, float]]] = {}
    for weights, weight in stack:
        for name, module in weights.of(network).items():
            layers.setdefault(name, []).append((module, weight))
    return dict(layers)


def _merge_layer(parts: Parts, rank: int) -> tuple[LoraModule, float, float]:
    """Return the sum of modules as one of this rank, its energy before it was cut, and after."""
    first = parts[0][0]
    ups = [module.up.flatten(1) * (weight * module.alpha / module.rank) for module, weight in parts]
    change = product(torch.cat(ups, dim=1), torch.cat([module.down.flatten(1) for module, _ in parts]))
    values = change.values[:rank]
    root = values.sqrt()
    missing = rank - len(values)
    up = torch.nn.functional.pad(change.left[:, :rank] * root, (0, missing))  # (out, rank)
    down = torch.nn.functional.pad((change.right[:, :rank] * root).T, (0, 0, 0, missing))  # (rank, in)
    module = LoraModule(
        down.float().reshape(rank, *first.down.shape[1:]),
        up.float().reshape(-1, rank, *first.up.shape[2:]),
        float(rank),
    )
    return module, change.energy, float(values.square().sum())


def _full_rank(parts: Parts) -> int:
    """Return the rank that a layer's changes together can have."""
    module = parts[0][0]
    return min(sum(each.rank for each, _ in parts), module.up.shape[0], module.down[0].numel())


def _is_wide(parts: Parts) -> bool:
    """Return whether a layer is a convolution with a kernel of several pixels."""
    return parts[0][0].down.shape[2:].numel() > 1


def _check_shapes(name: str, parts: Parts) -> None:
    shapes = sorted({(module.up.shape[0], *module.down.shape[1:]) for module, _ in parts})
    if len(shapes) > 1:
        message = f"layer {name} is {shapes[0]} in one LoRA and {shapes[1]} in another: they are for different bases"
        raise InputFault(message)
