"""Bases held in 4 bits and moments held in 8: rounded as NF4 says, trained on to the same bytes, drawn with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.families import networks_of
from models.diffusion.four_bits import hold_in_four_bits
from models.diffusion.lora_stack import add_lora, set_lora_weights
from tests.models.family_runs import as_killed_after_the_first_checkpoint, left_by, tiny_examples, train_in
from tests.random_base import make_random_base
from tests.random_flux import make_random_flux
from tests.random_qwen_image import make_random_qwen_image
from tests.random_sdxl import make_random_sdxl

bitsandbytes = pytest.importorskip("bitsandbytes", reason="4 bits need bitsandbytes: pip install bitsandbytes")
LARGE = 4096  # values of a tensor whose moments bitsandbytes holds in 8 bits
BLOCK = 64  # values that share a scale
WIDEST_GAP = 0.3038  # between neighbours of NF4's levels, -1 and -0.6962: QLoRA, appendix E
DRAWING = Drawing(steps=2, guidance=1.0, size=64)
BASES = {
    "sd15": make_random_base,
    "sdxl": make_random_sdxl,
    "flux": make_random_flux,
    "qwen_image": make_random_qwen_image,
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name) / "base") for name, make in BASES.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.integers(1, 5), st.integers(1, 5))
def test_a_weight_is_rounded_within_half_a_gap_of_its_block_s_largest(seed, scale, rows, columns):
    weight = scale * torch.randn(BLOCK * rows, BLOCK * columns, generator=torch.Generator().manual_seed(seed))
    block = torch.nn.ModuleDict({"layer": torch.nn.Linear(*reversed(weight.shape))})
    block["layer"].weight.data = weight
    network = torch.nn.ModuleList([block])
    hold_in_four_bits(network)
    held = network.to("cpu")[0]["layer"].weight
    assert held.numel() == weight.numel() / 2  # two in a byte
    restored = bitsandbytes.functional.dequantize_4bit(held.data, held.quant_state)
    largest = weight.reshape(-1, BLOCK).abs().amax(1)
    off = (restored - weight).reshape(-1, BLOCK).abs().amax(1)
    assert (off <= 1.05 * WIDEST_GAP / 2 * largest + 1e-6).all()


@pytest.mark.parametrize("family", BASES)
def test_pictures_stay_much_as_they_were_and_blocks_alone_are_rounded(family, bases):
    plain, held = (load_base(bases[family], precision, device="cpu") for precision in ("bfloat16", "nf4"))
    kinds = {name: type(layer).__name__ for name, layer in held.denoiser.named_modules()}
    rounded = [name for name, kind in kinds.items() if kind == "Linear4bit"]
    assert rounded
    assert all(any(part.isdigit() for part in name.split(".")) for name in rounded)
    assert "Linear" in kinds.values()
    weights = [sum(p.nbytes for p in model.denoiser.parameters()) for model in (held, plain)]
    assert weights[0] < weights[1]
    one, other = (model.sample(["luca in a harbour"], "", [1], DRAWING)[0] for model in (plain, held))
    assert 0 < np.abs(one.astype(int) - other).mean() < 20


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_a_killed_training_on_four_bits_goes_on_to_the_same_bytes_and_its_lora_is_drawn_with(family, bases, tmp_path):
    examples = tiny_examples(tmp_path)
    lora = train_in(tmp_path / "run", bases[family], examples, precision="nf4", optimizer="adamw8bit")
    copy = as_killed_after_the_first_checkpoint(tmp_path / "run", tmp_path / "copy")
    train_in(copy, bases[family], examples, precision="nf4", optimizer="adamw8bit")
    assert left_by(copy) == left_by(tmp_path / "run")
    model = load_base(bases[family], "nf4", device="cpu")
    before = model.sample(["luca"], "", [1], DRAWING)[0]
    add_lora(model, lora, "luca")
    set_lora_weights(model, {"luca": 1.0})
    assert (model.sample(["luca"], "", [1], DRAWING)[0] != before).any()
    set_lora_weights(model, {})
    assert (model.sample(["luca"], "", [1], DRAWING)[0] == before).all()
    assert not any(p.requires_grad for network in networks_of(model).values() for p in network.parameters())


def test_moments_of_eight_bits_learn_nearly_what_those_of_32_do(bases, tmp_path):
    examples, learnt, moments = tiny_examples(tmp_path), [], []
    for optimizer in ("adamw", "adamw8bit"):
        lora = load_file(
            train_in(tmp_path / optimizer, bases["sd15"], examples, optimizer=optimizer, rank=128, sample_every=0)
        )
        learnt.append(torch.cat([lora[key].flatten() for key in sorted(lora) if "lora_up" in key]))
        saved = torch.load(tmp_path / optimizer / "checkpoints/step-000004/optimizer.pt", weights_only=True)
        moments.append({value.dtype for value in tensors_in(saved["state"]) if value.numel() >= LARGE})
    assert moments == [{torch.float32}, {torch.uint8}]
    assert torch.cosine_similarity(*learnt, dim=0) > 0.95


def tensors_in(tree: object) -> list[torch.Tensor]:
    if isinstance(tree, dict):
        return [tensor for each in tree.values() for tensor in tensors_in(each)]
    return [tree] if isinstance(tree, torch.Tensor) else []
