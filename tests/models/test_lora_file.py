"""LoRA files: kohya's keys, bytes that repeat, and the same pictures in every program that reads them."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from data_contracts.faults import InputFault
from models.diffusion import sd15
from models.diffusion.lora_file import AdapterSize, LoraModule, LoraWeights, from_peft, load_kohya, save_kohya
from models.diffusion.lora_stack import (
    adapter_parameters,
    adapter_state,
    add_fresh_adapter,
    add_lora,
    set_lora_weights,
)
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS, unet_layers
from tests.random_base import make_random_base

RANK, ALPHA = 4, 2.0
LINEAR = AdapterSize(RANK, ALPHA)
SIZE = AdapterSize(RANK, ALPHA, conv_rank=2, conv_alpha=1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base", seed=0)


def trained(base: Path, seed: int, size: AdapterSize = SIZE) -> sd15.StableDiffusion:
    """Return the base with an adapter of random values, as after training."""
    model = sd15.load(base, device="cpu")
    torch.manual_seed(seed)
    for network, layers, own in (
        (model.unet, unet_layers(size), size),
        (model.text_encoder, TEXT_ENCODER_LAYERS, LINEAR),
    ):
        add_fresh_adapter(network, layers, "trained", own)
        for parameter in adapter_parameters(network, "trained").values():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def save(model: sd15.StableDiffusion, path: Path) -> Path:
    states = (adapter_state(model.unet, "trained"), adapter_state(model.text_encoder, "trained"))
    unet, text_encoder = (from_peft(state, SIZE) for state in states)
    save_kohya(path, LoraWeights(unet, text_encoder, {"ss_network_dim": str(RANK), "reel2lora.type": "character"}))
    return path


@pytest.fixture(scope="module")
def loras(base: Path, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("loras")
    return save(trained(base, 1), folder / "one.safetensors"), save(trained(base, 2), folder / "two.safetensors")


def denoised(text_encoder, unet, tokenizer) -> torch.Tensor:
    """Return one prediction of the U-Net on fixed latents, for a fixed prompt."""
    latents = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(7))
    tokens = tokenizer("luca running", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        return unet(latents, torch.tensor([500]), text_encoder(tokens)[0]).sample


def predicted(model: sd15.StableDiffusion) -> torch.Tensor:
    return denoised(model.text_encoder, model.unet, model.tokenizer)


@pytest.mark.parametrize(("size", "unet_modules"), [(LINEAR, 192), (SIZE, 278)])
def test_our_layers_are_those_of_kohya_on_the_real_architecture(size: AdapterSize, unet_modules: int):
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)  # the defaults are SD 1.5's
        text_encoder = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12))
        add_fresh_adapter(unet, unet_layers(size), "trained", size)
        add_fresh_adapter(text_encoder, TEXT_ENCODER_LAYERS, "trained", LINEAR)
    modules = from_peft(adapter_state(unet, "trained"), size)
    assert len(modules) == unet_modules
    assert "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0" in modules
    assert "mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj" in modules
    assert modules["up_blocks_3_attentions_2_proj_in"].down.shape == (RANK, 320, 1, 1)
    assert len(from_peft(adapter_state(text_encoder, "trained"), size)) == 72
    assert all(module.alpha == size.alpha_of(module.down) for module in modules.values())
    if size.conv_rank:
        convolution = modules["down_blocks_1_resnets_0_conv1"]
        assert (convolution.down.shape, convolution.up.shape) == ((2, 320, 3, 3), (640, 2, 1, 1))
        assert modules["down_blocks_1_resnets_0_conv_shortcut"].down.shape == (RANK, 320, 1, 1)
        assert modules["mid_block_resnets_1_time_emb_proj"].down.shape == (RANK, 1280)
        assert {"down_blocks_2_downsamplers_0_conv", "up_blocks_0_upsamplers_0_conv"} <= set(modules)


def test_keys_and_shapes_are_kohyas(loras):
    tensors = load_file(loras[0])
    module = "lora_te_text_model_encoder_layers_1_self_attn_q_proj"
    assert tensors[f"{module}.lora_down.weight"].shape == (RANK, 64)
    assert tensors[f"{module}.lora_up.weight"].shape == (64, RANK)
    assert tensors[f"{module}.alpha"].item() == ALPHA
    assert {key.split("_")[1] for key in tensors} == {"unet", "te"}
    assert {key.split(".", 1)[1] for key in tensors} == {"lora_down.weight", "lora_up.weight", "alpha"}


def test_the_same_weights_give_the_same_bytes(base: Path, loras, tmp_path: Path):
    again = save(trained(base, 1), tmp_path / "again.safetensors").read_bytes()
    assert again == loras[0].read_bytes()
    header = json.loads(again[8 : 8 + int.from_bytes(again[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_what_is_written_is_what_is_read(loras, tmp_path: Path):
    weights = load_kohya(loras[0])
    assert weights.metadata["reel2lora.type"] == "character"
    assert {(module.rank, module.alpha) for module in weights.unet.values()} == {(RANK, ALPHA), (2, 1.0)}
    save_kohya(tmp_path / "copy.safetensors", weights)
    assert (tmp_path / "copy.safetensors").read_bytes() == loras[0].read_bytes()


# Where PEFT merges convolutions, sums are in another order: only then may the last digits differ.
@pytest.mark.parametrize(("size", "off"), [(LINEAR, 0), (SIZE, 1e-5)])
def test_diffusers_own_loader_gives_the_output_of_the_adapter_in_memory(
    base: Path, tmp_path: Path, size: AdapterSize, off: float
):
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    untouched = denoised(pipeline.text_encoder, pipeline.unet, pipeline.tokenizer)
    pipeline.load_lora_weights(save(trained(base, 1, size), tmp_path / "one.safetensors"))
    loaded = denoised(pipeline.text_encoder, pipeline.unet, pipeline.tokenizer)
    torch.testing.assert_close(loaded, predicted(trained(base, 1, size)), rtol=0, atol=off)
    assert (loaded - untouched).abs().max() > 1e-2


def test_a_stack_is_the_sum_of_its_weighted_parts(base: Path, loras):
    plain = predicted(sd15.load(base, device="cpu"))
    model = sd15.load(base, device="cpu")
    add_lora(model, loras[0], "one")
    add_lora(model, loras[1], "two")
    outputs = {}
    for weights in ({}, {"one": 0.0, "two": 0.0}, {"one": 1.0}, {"one": 1.0, "two": 0.0}, {"one": 0.5, "two": 0.8}):
        set_lora_weights(model, weights)
        outputs[str(weights)] = predicted(model)
    off, zero, alone, beside_zero, stack = outputs.values()
    assert torch.equal(off, plain)
    assert torch.equal(zero, plain)
    assert torch.equal(alone, predicted(trained(base, 1)))
    assert torch.equal(beside_zero, alone)
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipeline.load_lora_weights(loras[0], adapter_name="one")
    pipeline.load_lora_weights(loras[1], adapter_name="two")
    pipeline.set_adapters(["one", "two"], [0.5, 0.8])
    assert torch.allclose(stack, denoised(pipeline.text_encoder, pipeline.unet, pipeline.tokenizer), atol=1e-5)


def test_a_file_that_changes_few_layers_with_ranks_of_their_own_is_applied(base: Path, tmp_path: Path):
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(2, 48), torch.randn(48, 2)
    modules = {
        layer.replace(".", "_"): LoraModule(down, up, 6.0),
        "mid_block_attentions_0_proj_in": LoraModule(torch.randn(3, 48, 1, 1), torch.randn(48, 3, 1, 1), 1.0),
    }
    save_kohya(tmp_path / "few.safetensors", LoraWeights(modules, {}, {}))
    model = sd15.load(base, device="cpu")
    weight = model.unet.get_submodule(layer).weight.clone()
    add_lora(model, tmp_path / "few.safetensors", "few")
    set_lora_weights(model, {"few": 0.5})
    x = torch.randn(1, 48)
    expected = x @ (weight + 0.5 * 3 * up @ down).T
    assert torch.allclose(model.unet.get_submodule(layer)(x), expected, rtol=1e-4, atol=1e-4)


def test_files_that_do_not_fit_are_refused_by_name(base: Path, loras, tmp_path: Path):
    model = sd15.load(base, device="cpu")
    with pytest.raises(InputFault, match=r"missing\.safetensors does not exist"):
        add_lora(model, tmp_path / "missing.safetensors", "x")
    tensors = load_file(loras[0])
    save_file({**tensors, "lora_unet_mid.dora_scale": torch.ones(1)}, tmp_path / "dora.safetensors")
    with pytest.raises(InputFault, match="dora_scale"):
        load_kohya(tmp_path / "dora.safetensors")
    save_file({f"lora_te2_{key}": value for key, value in tensors.items()}, tmp_path / "sdxl.safetensors")
    with pytest.raises(InputFault, match=r"in no network of SD 1\.x"):
        load_kohya(tmp_path / "sdxl.safetensors")
    other = {"up_blocks_9_attentions_0_proj_in": LoraModule(torch.ones(2, 9), torch.ones(9, 2), 1.0)}
    save_kohya(tmp_path / "other.safetensors", LoraWeights(other, {}, {}))
    with pytest.raises(InputFault, match="for another base model"):
        add_lora(model, tmp_path / "other.safetensors", "x")
    with pytest.raises(ValueError, match="was not added"):
        set_lora_weights(model, {"nobody": 1.0})
    with pytest.raises(ValueError, match="only LoRA and DoRA"):
        from_peft({"a.lora_A.weight": torch.ones(1)}, LINEAR)
