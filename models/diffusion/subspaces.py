"""How much two LoRAs get in each other's way, from their weights alone.

A LoRA's change to a layer, dW = alpha / rank * B A, writes into the few directions of its output that B's columns span
and reads the few of its input that A's rows span. What share of one LoRA's change lies in the directions of another
says how far they would disturb each other when stacked, before a picture is drawn; subspaces are compared so by
Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, 7.2. Two copies share all; two drawn at random, in
a layer of d inputs or outputs, rank / d. No full matrix is formed: of two changes U S V', all follows from the small
products of their U and of their V. What a DoRA does to the lengths of rows hangs on the base model's weights, and is
left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch

from data_contracts.faults import InputFault
from models.diffusion.lora_file import LoraModule, LoraWeights

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
"""The fields of LoraWeights that hold modules."""
_TINY = 1e-10
"""Singular values below this share of the largest are rounding, and their directions mean nothing."""


class Change(NamedTuple):
    """A low-rank matrix left diag(values) right', float64: left (out, k), values (k,) falling, right (in, k)."""

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor

    @property
    def energy(self) -> float:
        """Its squared Frobenius norm."""
        return float(self.values.square().sum())


@dataclass(frozen=True)
class Overlap:
    """How much two changes, a and b, have in common.

    writes, reads: shares, 0..1, of a's energy: in the outputs that b writes, and in the inputs that b reads.
    back_writes, back_reads: the same shares of b's energy, in what a writes and reads.
    chance_writes, chance_reads: what writes and reads would be, were b's directions drawn at random.
    cosine: of the changes as vectors, -1..1: at 1 they are the same but for their strength, at -1 they cancel.
    """

    writes: float
    reads: float
    back_writes: float
    back_reads: float
    chance_writes: float
    chance_reads: float
    cosine: float


@dataclass(frozen=True)
class LoraOverlap:
    """How much two LoRAs have in common: on the whole, and in each layer that both change.

    whole: the shares of all their energy, so that layers count by theirs, and those of one LoRA alone as no overlap.
    layers: by `network.layer`, the layer underscored.
    """

    whole: Overlap
    layers: Mapping[str, Overlap]


def overlaps(loras: Mapping[str, LoraWeights]) -> dict[tuple[str, str], LoraOverlap]:
    """Return how much each two of several LoRAs of one family have in common, by the pair of their names.

    Layer by layer, so that no more than one layer of all LoRAs is in memory as float64.

    Raises:
        InputFault: one of them changes nothing.
    """
    energies = dict.fromkeys(loras, 0.0)
    common: dict[tuple[str, str], dict[str, _Products]] = {pair: {} for pair in combinations(loras, 2)}
    for network in NETWORKS:
        modules = {name: weights.of(network) for name, weights in loras.items()}
        for layer in dict.fromkeys(layer for each in modules.values() for layer in each):
            changes = {name: change_of(each[layer]) for name, each in modules.items() if layer in each}
            for name, change in changes.items():
                energies[name] += change.energy
            for (a, b), layers in common.items():
                if a in changes and b in changes and changes[a].energy and changes[b].energy:
                    layers[f"{network}.{layer}"] = _products(changes[a], changes[b])
    if idle := [name for name, energy in energies.items() if not energy]:
        message = f"LoRA {idle[0]!r} changes nothing: its up-projections are all 0; train it first"
        raise InputFault(message)
    return {
        (a, b): LoraOverlap(
            _shares(_sum(layers.values()), energies[a], energies[b]),
            {layer: _shares(products, products.a, products.b) for layer, products in layers.items()},
        )
        for (a, b), layers in common.items()
    }


def change_of(module: LoraModule) -> Change:
    """Return what a module changes its layer by; a convolution's as a matrix (out, in * height * width)."""
    return product(module.up.flatten(1) * (module.alpha / module.rank), module.down.flatten(1))


def product(up: torch.Tensor, down: torch.Tensor) -> Change:
    """Return `up` (out, r) times `down` (r, in), by QR of both and SVD of their triangles' product (r, r)."""
    left, upper = torch.linalg.qr(up.double())
    right, lower = torch.linalg.qr(down.double().T)
    inner_left, values, inner_right = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    kept = values > _TINY * values[0]
    return Change(left @ inner_left[:, kept], values[kept], right @ inner_right.T[:, kept])


class _Products(NamedTuple):
    """Of two changes: their energies, the parts of these that `Overlap` gives as shares, and their inner product."""

    a: float
    b: float
    writes: float
    reads: float
    back_writes: float
    back_reads: float
    chance_writes: float
    chance_reads: float
    inner: float


def _products(a: Change, b: Change) -> _Products:
    outputs, inputs = a.left.T @ b.left, a.right.T @ b.right  # (k of a, k of b)
    strong_a, strong_b = a.values[:, None], b.values[None]
    shared = [float((strong * mixed).square().sum()) for strong in (strong_a, strong_b) for mixed in (outputs, inputs)]
    chances = [a.energy * len(b.values) / len(directions) for directions in (b.left, b.right)]
    inner = float((strong_a * strong_b * outputs * inputs).sum())
    return _Products._make([a.energy, b.energy, *shared, *chances, inner])


def _sum(products: Iterable[_Products]) -> _Products:
    nothing = [0.0] * len(_Products._fields)
    return _Products._make(sum(column) for column in zip(nothing, *products, strict=True))


def _shares(products: _Products, a: float, b: float) -> Overlap:
    """Return shares of the energies `a` and `b`."""
    return Overlap(
        writes=products.writes / a,
        reads=products.reads / a,
        back_writes=products.back_writes / b,
        back_reads=products.back_reads / b,
        chance_writes=products.chance_writes / a,
        chance_reads=products.chance_reads / a,
        cosine=products.inner / (a * b) ** 0.5,
    )
