"""Overlap and merging of LoRAs by their factors: what the full matrices would say, and the stack's own output."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.faults import InputFault
from models.diffusion import load_base
from models.diffusion.families import View, networks_of
from models.diffusion.lora_file import AdapterSize, LoraModule, LoraWeights, load_kohya, save_kohya
from models.diffusion.lora_stack import adapter_parameters, add_lora, set_lora_weights
from models.diffusion.merge import merge
from models.diffusion.subspaces import LoraOverlap, change_of, overlaps
from tests.models.family_runs import add_random_adapter, save_adapter
from tests.random_base import make_random_base
from tests.random_flux import make_random_flux
from tests.random_qwen_image import make_random_qwen_image
from tests.random_sdxl import make_random_sdxl

SIDES = st.integers(1, 24)


def module(seed: int, out: int = 16, wide: int = 12, rank: int = 3, alpha: float = 2.0) -> LoraModule:
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(shape, generator=generator) for shape in ((rank, wide), (out, rank)))
    return LoraModule(down, up, alpha)


def lora(**unet: LoraModule) -> LoraWeights:
    return LoraWeights(unet, {}, {})


def overlap(one: LoraWeights, other: LoraWeights) -> LoraOverlap:
    return overlaps({"one": one, "other": other})["one", "other"]


def dense(module: LoraModule) -> torch.Tensor:
    """Return the full change of a layer (out, in), float64."""
    return module.alpha / module.rank * (module.up.double().flatten(1) @ module.down.double().flatten(1))


def in_columns_of(basis: torch.Tensor, change: torch.Tensor) -> float:
    """Return the share of a change's energy in the column space of another matrix, by its pseudo-inverse."""
    return float((basis @ torch.linalg.pinv(basis) @ change).square().sum() / change.square().sum())


@given(SIDES, SIDES, st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_overlap_is_that_of_the_full_matrices(out: int, wide: int, rank: int, other_rank: int, seed: int):
    a, b = module(seed, out, wide, rank, alpha=0.3), module(seed + 1, out, wide, other_rank, alpha=4.0)
    whole = overlap(lora(x=a), lora(x=b)).whole
    one, other = dense(a), dense(b)
    assert whole.writes == pytest.approx(in_columns_of(other, one), abs=1e-6)
    assert whole.reads == pytest.approx(in_columns_of(other.T, one.T), abs=1e-6)
    assert whole.back_writes == pytest.approx(in_columns_of(one, other), abs=1e-6)
    assert whole.back_reads == pytest.approx(in_columns_of(one.T, other.T), abs=1e-6)
    expected = float((one * other).sum() / one.norm() / other.norm())
    assert whole.cosine == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 8), st.floats(-4, 4).filter(lambda share: abs(share) > 0.01))
def test_a_copy_shares_all_whatever_its_strength_and_factors(rank: int, strength: float):
    a = module(1, 20, 20, rank)
    mixing = torch.linalg.qr(torch.randn((rank, rank), generator=torch.Generator().manual_seed(2)))[0]
    copy = LoraModule(mixing @ a.down, strength * a.up @ mixing.T, a.alpha)
    whole = overlap(lora(x=a, y=a), lora(x=copy, y=copy)).whole
    shares = (whole.writes, whole.reads, whole.back_writes, whole.back_reads)
    assert shares == pytest.approx((1, 1, 1, 1))
    assert whole.cosine == pytest.approx(1 if strength > 0 else -1, abs=1e-6)


def test_random_loras_share_rank_by_width():
    layers = [f"l{n}" for n in range(30)]
    a, b = (lora(**{name: module(shift + n, 96, 64, 8) for n, name in enumerate(layers)}) for shift in (0, 100))
    found = overlap(a, b)
    assert found.whole.writes == pytest.approx(8 / 96, rel=0.1)
    assert found.whole.reads == pytest.approx(8 / 64, rel=0.1)
    assert (found.whole.chance_writes, found.whole.chance_reads) == (pytest.approx(8 / 96), pytest.approx(8 / 64))
    assert abs(found.whole.cosine) < 0.02
    assert list(found.layers) == [f"unet.{name}" for name in layers]


def test_layers_count_by_their_energy_and_those_of_one_lora_as_none():
    strong = module(1, alpha=30.0)
    weak, other = module(2, alpha=0.03), module(3, alpha=0.03)
    mostly_copied = overlap(lora(x=strong, y=weak), lora(x=strong, y=other))
    assert mostly_copied.whole.writes > 0.999
    assert mostly_copied.layers["unet.y"].writes < 0.9
    apart = overlap(lora(x=strong), lora(y=strong))
    assert apart.layers == {}
    assert (apart.whole.writes, apart.whole.cosine) == (0, 0)
    half = overlap(lora(x=strong, y=strong), LoraWeights({"x": strong}, {"y": strong}, {})).whole
    assert (half.writes, half.cosine) == (pytest.approx(0.5), pytest.approx(0.5))
    untrained = LoraModule(strong.down, torch.zeros_like(strong.up), 1.0)
    assert set(overlap(lora(x=untrained, y=weak), lora(x=strong, y=weak)).layers) == {"unet.y"}
    three = overlaps({"a": lora(x=strong), "b": lora(x=weak), "c": lora(x=strong)})
    assert list(three) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert three["a", "b"].whole.writes == pytest.approx(three["b", "c"].whole.back_writes)
    assert three["a", "c"].whole.cosine == pytest.approx(1)
    with pytest.raises(InputFault, match="LoRA 'one' changes nothing"):
        overlap(lora(x=untrained), lora(x=strong))


@given(SIDES, SIDES, st.integers(1, 5), st.integers(1, 5), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_merge_is_the_best_of_its_rank(out: int, wide: int, one: int, two: int, rank: int, seed: int):
    stack = [(module(seed, out, wide, one), 0.7), (module(seed + 1, out, wide, two, alpha=0.5), -1.2)]
    total = sum(weight * dense(part) for part, weight in stack)
    merged = merge([(lora(x=part), weight) for part, weight in stack], rank)
    found = merged.weights.unet["x"]
    left, values, right = torch.linalg.svd(total, full_matrices=False)
    best = left[:, :rank] * values[:rank] @ right[:rank]
    assert torch.allclose(dense(found), best, atol=1e-4 * float(values[0]))
    assert merged.kept == pytest.approx(float(values[:rank].square().sum() / values.square().sum()), abs=1e-6)
    assert merged.rank == found.rank == found.alpha == min(rank, one + two, out, wide)


def test_ranks_are_one_for_layers_and_one_for_kernels():
    kernel = LoraModule(torch.randn(2, 4, 3, 3), torch.randn(6, 2, 1, 1), 1.0)
    point = LoraModule(torch.randn(3, 4, 1, 1), torch.randn(6, 3, 1, 1), 1.0)
    weights = LoraWeights(
        {"conv": kernel, "proj": point, "few": module(1, 5, 5, 1)}, {"q": module(2)}, {}, {"q": module(3)}
    )
    whole = merge([(weights, 1.0), (weights, 0.5)])
    assert (whole.rank, whole.conv_rank, whole.kept) == (6, 4, pytest.approx(1))
    assert {name: each.rank for name, each in whole.weights.unet.items()} == {"conv": 4, "proj": 6, "few": 6}
    found = whole.weights.unet["conv"]
    assert (found.down.shape, found.up.shape) == ((4, 4, 3, 3), (6, 4, 1, 1))
    assert torch.allclose(dense(found), 1.5 * dense(kernel), atol=1e-5)
    assert torch.allclose(dense(whole.weights.text_encoder_2["q"]), 1.5 * dense(module(3)), atol=1e-5)
    assert change_of(found).values.shape == (2,)
    with pytest.raises(InputFault, match=r"layer x is \(16, 12\) in one LoRA and \(16, 13\) in another"):
        merge([(lora(x=module(1)), 1.0), (lora(x=module(1, wide=13)), 1.0)])
    with pytest.raises(InputFault, match="the stack changes nothing"):
        merge([(weights, 0.0)])


MAKERS = {
    "sd15": (make_random_base, AdapterSize(3, 1.5, conv_rank=2, conv_alpha=1.0)),
    "sdxl": (make_random_sdxl, AdapterSize(2, 2.0, conv_rank=2, conv_alpha=1.0)),
    "flux": (make_random_flux, AdapterSize(2, 1.0)),
    "qwen_image": (make_random_qwen_image, AdapterSize(2, 1.0)),
}


def said(model) -> torch.Tensor:
    """Return what the denoiser says of fixed latents and a prompt."""
    channels = 4 if model.text_encoders else 16
    noisy = torch.randn((1, channels, 8, 8), generator=torch.Generator().manual_seed(7))
    time = torch.tensor([500]) if model.text_encoders else torch.tensor([0.5])
    with torch.no_grad():
        told = {**model.encode_prompts(["luca running"]), **model.describe([View((64, 64), (0, 0), (64, 64))])}
        return model.predict(noisy, time, told)


@pytest.mark.parametrize("family", MAKERS)
def test_a_merge_that_loses_nothing_draws_what_the_stack_draws(family: str, tmp_path: Path):
    make, size = MAKERS[family]
    base = make(tmp_path / "base")
    model = load_base(base, device="cpu")
    add_random_adapter(model, size)
    paths = [save_adapter(model, size, tmp_path / "one.safetensors")]
    for network in networks_of(model).values():
        for parameter in adapter_parameters(network, "trained").values():
            torch.nn.init.normal_(parameter, std=0.2)
    paths.append(save_adapter(model, size, tmp_path / "two.safetensors"))
    loaded = [load_kohya(path, model.keys) for path in paths]
    merged = merge(list(zip(loaded, (0.5, 0.8), strict=True)))
    assert (merged.rank, merged.kept) == (2 * size.rank, pytest.approx(1))
    save_kohya(tmp_path / "merged.safetensors", merged.weights, model.keys)
    model = load_base(base, device="cpu")
    plain = said(model)
    for name, path in zip("abm", [*paths, tmp_path / "merged.safetensors"], strict=True):
        add_lora(model, path, name)
    set_lora_weights(model, {"a": 0.5, "b": 0.8})
    stacked = said(model)
    set_lora_weights(model, {"m": 1.0})
    assert torch.allclose(said(model), stacked, atol=2e-4)
    assert (stacked - plain).abs().max() > 1e-2
    assert merge(list(zip(loaded, (0.5, 0.8), strict=True)), 1).kept < 0.99
