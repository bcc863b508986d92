"""Stable Diffusion XL: trains, goes on to the same bytes, and its LoRAs are kohya's to the key."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from data_contracts.faults import InputFault
from models.diffusion import family_of, load_base, sdxl
from models.diffusion.drawing import Drawing
from models.diffusion.families import View
from models.diffusion.lora_file import AdapterSize, from_peft, load_kohya, save_kohya
from models.diffusion.lora_stack import adapter_state, add_fresh_adapter, add_lora, set_lora_weights
from models.diffusion.sgm_keys import from_sgm, to_sgm
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS, unet_layers
from tests.models.family_runs import (
    add_random_adapter,
    as_killed_after_the_first_checkpoint,
    left_by,
    moved,
    save_adapter,
    tiny_examples,
    train_in,
)
from tests.random_sdxl import WIDTHS, make_random_sdxl
from tests.real_sizes import OPENCLIP_BIG_G, SDXL_UNET

CONV = AdapterSize(2, 1.0, conv_rank=2, conv_alpha=1.0)
LINEAR = AdapterSize(2, 1.0)
TRAINING = {
    "text_encoder_learning_rate": 1e-2,
    "conv_rank": 2,
    "gradient_checkpointing": True,
    "embedding_vectors": 2,
    "embedding_init": "a harbour",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_in(folder / "run", base, tiny_examples(folder), **TRAINING)
    return folder / "run"


def test_all_networks_learn_and_the_file_says_so(run: Path):
    assert {key.split("_")[1] for key in moved(run / "lora.safetensors")} == {"unet", "te1", "te2"}
    metadata = load_kohya(run / "lora.safetensors", sdxl.SDXL_KEYS).metadata
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert (run / "samples/step-000004-0.png").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(run: Path, base: Path, tmp_path: Path):
    copy = as_killed_after_the_first_checkpoint(run, tmp_path / "copy")
    train_in(copy, base, tiny_examples(tmp_path), **TRAINING)
    assert left_by(copy) == left_by(run)
    assert "lora_emb.safetensors" in left_by(run)


def test_prompts_are_read_as_diffusers_reads_them(base: Path):
    model = sdxl.load(base, device="cpu")
    pipeline = StableDiffusionXLPipeline.from_pretrained(base)
    with torch.no_grad():
        told = model.encode_prompts(["luca running", ""])
        states, _, pooled, _ = pipeline.encode_prompt(["luca running", ""], do_classifier_free_guidance=False)
    assert told["states"].shape == (2, 77, sum(WIDTHS))
    assert torch.equal(told["states"], states)
    assert torch.equal(told["pooled"], pooled)


def test_our_pictures_are_those_of_diffusers(base: Path):
    model = sdxl.load(base, device="cpu")
    picture = model.sample(["luca"], "", [3], Drawing(steps=2, guidance=4.0, size=64))[0]
    pipeline = model.pipeline()
    images = pipeline(
        "luca",
        negative_prompt="",
        num_inference_steps=2,
        guidance_scale=4.0,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    assert np.abs(images[0] * 255 - picture).max() <= 1


def test_the_network_is_told_what_part_of_which_picture_it_sees(base: Path):
    model = sdxl.load(base, device="cpu")
    told = model.describe([View((80, 100), (0, 8), (64, 64))])
    assert told["time_ids"].tolist() == [[80, 100, 0, 8, 64, 64]]


@pytest.mark.parametrize(("size", "modules"), [(LINEAR, 722), (CONV, 788)])
def test_our_layers_are_those_of_kohya_on_the_real_architecture(size: AdapterSize, modules: int):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SDXL_UNET)
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**OPENCLIP_BIG_G))
        add_fresh_adapter(unet, unet_layers(size), "trained", size)
        add_fresh_adapter(encoder, TEXT_ENCODER_LAYERS, "trained", LINEAR)
    found = from_peft(adapter_state(unet, "trained"), size)
    named = to_sgm(found)
    assert len(named) == modules
    assert named["input_blocks_4_1_transformer_blocks_0_attn1_to_q"].down.shape == (2, 640)
    assert named["output_blocks_5_1_proj_out"].down.shape == (2, 640)
    assert {"middle_block_1_transformer_blocks_9_ff_net_0_proj", "input_blocks_8_1_proj_in"} <= set(named)
    assert list(from_sgm(named)) == list(found)
    assert len(from_peft(adapter_state(encoder, "trained"), LINEAR)) == 192
    if size.conv_rank:
        assert named["input_blocks_3_0_op"].down.shape == (2, 320, 3, 3)
        assert named["output_blocks_2_2_conv"].down.shape == (2, 1280, 3, 3)
        assert {"middle_block_2_out_layers_3", "output_blocks_8_0_skip_connection"} <= set(named)


SIDES = st.sampled_from(["down_blocks", "up_blocks"])


@given(SIDES, st.integers(0, 2), st.integers(0, 2), st.sampled_from(["resnets_conv1", "attentions_proj_in"]))
def test_names_go_there_and_back(side: str, level: int, place: int, layer: str):
    kind, _, rest = layer.partition("_")
    name = f"{side}_{level}_{kind}_{place if side == 'up_blocks' else place % 2}_{rest}"
    assert list(from_sgm(to_sgm({name: 1}))) == [name]
    assert list(from_sgm({name: 1})) == [name]


def denoised(model: sdxl.StableDiffusionXL) -> torch.Tensor:
    noisy = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        told = {**model.encode_prompts(["luca running"]), **model.describe([View((64, 64), (0, 0), (64, 64))])}
        return model.predict(noisy, torch.tensor([500]), told)


@pytest.mark.parametrize(("size", "off"), [(LINEAR, 0), (CONV, 1e-5)])
def test_diffusers_own_loader_gives_the_output_of_the_adapter_in_memory(base: Path, tmp_path: Path, size, off: float):
    model = sdxl.load(base, device="cpu")
    plain = denoised(model)
    add_random_adapter(model, size)
    path = save_adapter(model, size, tmp_path / "lora.safetensors")
    untouched = sdxl.load(base, device="cpu")
    untouched.pipeline().load_lora_weights(path)
    torch.testing.assert_close(denoised(untouched), denoised(model), rtol=0, atol=off)
    assert (denoised(model) - plain).abs().max() > 1e-2
    again = sdxl.load(base, device="cpu")
    add_lora(again, path, "luca")
    set_lora_weights(again, {"luca": 1.0})
    torch.testing.assert_close(denoised(again), denoised(model), rtol=0, atol=off)
    save_kohya(tmp_path / "copy.safetensors", load_kohya(path, sdxl.SDXL_KEYS), sdxl.SDXL_KEYS)
    ours, copy = load_file(path), load_file(tmp_path / "copy.safetensors")
    assert all(torch.equal(ours[key], copy[key]) for key in ours | copy)


def test_files_of_another_family_are_refused(base: Path, tmp_path: Path, run: Path):
    model = load_base(base, device="cpu")
    assert family_of(base) == "sdxl"
    with pytest.raises(InputFault, match=r"in no network of SD 1\.x"):
        load_kohya(run / "lora.safetensors")
    with pytest.raises(InputFault, match="232 tokens"):
        model.encode_prompts(["a " * 230])
