"""FLUX.1: flow matching, a run that was killed goes on to the same bytes, and LoRAs that kohya and diffusers read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from data_contracts.faults import InputFault
from data_contracts.training import TrainSettings
from models.caption.tokens import count_tokens, load_tokenizer
from models.diffusion import flux, load_base, tokenizer_folder
from models.diffusion.drawing import Drawing
from models.diffusion.flow import FlowMatching, scheduler_shift, shifted
from models.diffusion.flow_transformer import ATTENTION_LAYERS
from models.diffusion.flux_keys import from_flux, to_flux
from models.diffusion.lora_file import AdapterSize, LoraModule, LoraWeights, from_peft, load_kohya, save_kohya
from models.diffusion.lora_stack import adapter_state, add_fresh_adapter, add_lora, set_lora_weights
from models.diffusion.objective import Prior
from models.diffusion.patches import pack, unpack
from models.trainers.examples import draw, prepare
from models.trainers.step import Adapter, Trainer
from tests.models.family_runs import (
    SETTINGS,
    add_random_adapter,
    as_killed_after_the_first_checkpoint,
    left_by,
    moved,
    save_adapter,
    tiny_examples,
    train_in,
)
from tests.random_flux import TOKENS, WIDTHS, make_random_flux

SIZE = AdapterSize(4, 2.0)
REAL_WIDTH = 3072


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_in(folder / "run", base, tiny_examples(folder), gradient_checkpointing=True)
    return folder / "run"


def test_a_run_learns_and_its_file_says_so(run: Path):
    assert len(moved(run / "lora.safetensors")) == 2 * 2 + 1  # qkv and output of double blocks, one single block
    metadata = load_kohya(run / "lora.safetensors", flux.FLUX_KEYS).metadata
    assert (metadata["ss_base_model_version"], metadata["modelspec.architecture"]) == ("flux1", "flux-1-dev/lora")
    assert "modelspec.prediction_type" not in metadata
    assert (run / "samples/step-000004-0.png").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(run: Path, base: Path, tmp_path: Path):
    copy = as_killed_after_the_first_checkpoint(run, tmp_path / "copy")
    train_in(copy, base, tiny_examples(tmp_path), gradient_checkpointing=True)
    assert left_by(copy) == left_by(run)


@pytest.mark.parametrize("changes", [{"masked_loss": False}, {"precision": "bfloat16", "masked_prior": 0.0}])
def test_training_lowers_the_loss(changes, base: Path, tmp_path: Path):
    config = TrainSettings.model_validate({**SETTINGS, "steps": 40, "learning_rate": 5e-2, **changes})
    model = load_base(base, config.precision, device="cpu")
    prepared = prepare(model, tiny_examples(tmp_path), config)
    assert prepared.latents_of([0, 1]).shape == (2, 16, 8, 8)
    trainer = Trainer(Adapter(model, config), prepared, config)

    def test_loss() -> float:
        with torch.no_grad():
            return sum(float(trainer._losses(number, 0).mean()) for number in range(1000, 1010)) / 10

    before = test_loss()
    for number in range(config.steps):
        trainer.step(number)
    assert test_loss() < 0.98 * before


def test_outside_the_masks_only_what_leaves_the_base_model_counts(base: Path, tmp_path: Path):
    """A fresh adapter changes nothing yet, so what is outside the masks costs nothing, but counts in the mean."""
    config = TrainSettings.model_validate({**SETTINGS, "masked_prior": 0.5})
    model = load_base(base, device="cpu")
    trainer = Trainer(Adapter(model, config), prepare(model, tiny_examples(tmp_path), config), config)
    assert trainer.keeps_prior
    with torch.no_grad():
        losses = trainer._losses(3, 0)
        drawn = draw(trainer.prepared, config, 3, trainer.objective)
        latents, masks = trainer.prepared.latents_of(drawn.indices), trainer.prepared.masks_of(drawn.indices)
        noisy = trainer.objective.disturb(latents, drawn.noise, drawn.timesteps)
        velocity = model.predict(noisy, drawn.timesteps, trainer._told(drawn))
    errors = (velocity - (drawn.noise - latents)).square().mean(dim=1, keepdim=True)
    weights = masks + 0.5 * (1 - masks)
    expected = (masks * errors).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    assert torch.allclose(losses, expected, rtol=1e-4)


def test_what_the_family_cannot_learn_is_refused(base: Path, tmp_path: Path):
    model = load_base(base, device="cpu")
    for changes, message in (
        ({"conv_rank": 2}, r"FLUX\.1 has no convolutions"),
        ({"text_encoder_learning_rate": 1e-4}, "leave the text encoders as they are: set it to 0"),
    ):
        with pytest.raises(InputFault, match=message):
            Adapter(model, TrainSettings.model_validate({**SETTINGS, **changes}))
    with pytest.raises(InputFault, match="72 is no multiple of 16"):
        prepare(model, tiny_examples(tmp_path), TrainSettings.model_validate({**SETTINGS, "resolution": 72}))
    with pytest.raises(InputFault, match="takes none"):
        model.sample(["luca"], "blurry", [1], Drawing(2, 3.5, 64))
    with pytest.raises(InputFault, match=f"{TOKENS} are read"):
        model.encode_prompts(["luca running " * 8])


def test_prompts_are_read_as_diffusers_reads_them(base: Path):
    model = flux.load(base, device="cpu")
    with torch.no_grad():
        told = model.encode_prompts(["luca running", ""])
        states, pooled, _ = FluxPipeline.from_pretrained(base).encode_prompt(
            ["luca running", ""], max_sequence_length=TOKENS
        )
    assert told["states"].shape == (2, TOKENS, WIDTHS[1])
    assert torch.equal(told["states"], states)
    assert torch.equal(told["pooled"], pooled)


def test_our_pictures_are_those_of_diffusers(base: Path):
    model = flux.load(base, device="cpu")
    model.set_aside_text_encoders()
    picture = model.sample(["luca"], "", [3], Drawing(steps=2, guidance=3.5, size=64))[0]
    images = FluxPipeline.from_pretrained(base)(
        "luca",
        num_inference_steps=2,
        guidance_scale=3.5,
        height=64,
        width=64,
        max_sequence_length=TOKENS,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    assert np.abs(images[0] * 255 - picture).max() <= 1


def test_one_step_of_our_flow_is_one_of_diffusers(base: Path):
    """What is predicted in training is what drawing follows: from pure noise, one step of length 1 ends at n - v."""
    model = flux.load(base, device="cpu")
    noise = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        told = model.encode_prompts(["luca"])
        velocity = model.predict(noise, torch.ones(1), told)
        tokens = model._pipeline()(
            prompt_embeds=told["states"],
            pooled_prompt_embeds=told["pooled"],
            num_inference_steps=1,
            guidance_scale=1.0,
            height=64,
            width=64,
            latents=pack(noise),
            output_type="latent",
        ).images
    assert torch.allclose(unpack(tokens, 8, 8), noise - velocity, atol=1e-5)


@pytest.mark.parametrize("alpha", [2.0, 3.0])
def test_diffusers_own_loader_gives_the_output_of_the_adapter_in_memory(tmp_path: Path, alpha: float):
    """Single blocks are left out: diffusers reads joined layers of these at FLUX's real width alone."""
    base = make_random_flux(tmp_path / "base", single_blocks=0)
    size = AdapterSize(4, alpha)
    model = flux.load(base, device="cpu")
    plain = denoised(model)
    add_random_adapter(model, size)
    path = save_adapter(model, size, tmp_path / "lora.safetensors")
    theirs = flux.load(base, device="cpu")
    theirs._pipeline().load_lora_weights(path)
    off = 0 if alpha == 2 else 1e-5  # they multiply the weights by alpha / rank, we the output
    torch.testing.assert_close(denoised(theirs), denoised(model), rtol=0, atol=off)
    assert (denoised(model) - plain).abs().max() > 1e-2


def denoised(model: flux.Flux) -> torch.Tensor:
    noisy = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return model.predict(noisy, torch.tensor([0.5]), model.encode_prompts(["luca running"]))


def test_a_file_of_all_blocks_is_read_back_to_the_same_output(base: Path, tmp_path: Path):
    model = flux.load(base, device="cpu")
    add_random_adapter(model, SIZE)
    path = save_adapter(model, SIZE, tmp_path / "lora.safetensors")
    again = flux.load(base, device="cpu")
    add_lora(again, path, "luca")
    set_lora_weights(again, {"luca": 1.0})
    assert torch.equal(denoised(again), denoised(model))
    save_kohya(tmp_path / "copy.safetensors", load_kohya(path, flux.FLUX_KEYS), flux.FLUX_KEYS)
    ours, copy = load_file(path), load_file(tmp_path / "copy.safetensors")
    assert all(torch.equal(ours[key], copy[key]) for key in ours | copy)


def real_state() -> dict[str, torch.Tensor]:
    """Return random tensors of a LoRA of two blocks at FLUX's real width, in PEFT's format."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for block in ("transformer_blocks.18", "single_transformer_blocks.37"):
        for layer in ("to_q", "to_k", "to_v") + (("to_out.0",) if block.startswith("t") else ()):
            name = f"{block}.attn.{layer}"
            state[f"{name}.lora_A.weight"] = torch.randn((2, REAL_WIDTH), generator=generator)
            state[f"{name}.lora_B.weight"] = torch.randn((REAL_WIDTH, 2), generator=generator)
    return state


def test_at_real_width_diffusers_takes_joined_layers_apart_to_what_they_were(tmp_path: Path):
    state = real_state()
    path = tmp_path / "lora.safetensors"
    save_kohya(path, LoraWeights(from_peft(state, AdapterSize(2, 2.0)), {}, {}), flux.FLUX_KEYS)
    tensors = load_file(path)
    assert tensors["lora_unet_double_blocks_18_img_attn_qkv.lora_down.weight"].shape == (6, REAL_WIDTH)
    assert tensors["lora_unet_double_blocks_18_img_attn_qkv.lora_up.weight"].shape == (3 * REAL_WIDTH, 6)
    assert tensors["lora_unet_single_blocks_37_linear1.lora_up.weight"].shape == (7 * REAL_WIDTH, 8)
    theirs = _convert_kohya_flux_lora_to_diffusers(dict(tensors))
    for key, value in state.items():
        assert torch.equal(theirs.pop(f"transformer.{key}"), value)
    # What is left is the MLP, joined with attention in the file, which changes nothing.
    assert sorted(theirs) == [f"transformer.single_transformer_blocks.37.proj_mlp.lora_{side}.weight" for side in "AB"]
    assert not any(value.any() for value in theirs.values())


def test_our_layers_on_the_real_architecture():
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
        add_fresh_adapter(transformer, ATTENTION_LAYERS, "trained", SIZE)
    found = from_peft(adapter_state(transformer, "trained"), SIZE)
    assert len(found) == 19 * 4 + 38 * 3
    assert len(to_flux(found)) == 19 * 2 + 38


@given(
    rank=st.integers(1, 3),
    width=st.integers(2, 5),
    layers=st.sets(st.sampled_from(["to_q", "to_k", "to_v"]), min_size=1),
)
def test_parts_are_joined_and_taken_apart_again(rank: int, width: int, layers: set[str]):
    for block in ("transformer_blocks_3", "single_transformer_blocks_5"):
        modules = {
            f"{block}_attn_{layer}": LoraModule(torch.randn(rank, width), torch.randn(width, rank), 1.5)
            for layer in sorted(layers)
        }
        joined = to_flux(modules)
        assert len(joined) == 1
        back = from_flux(joined)
        assert sorted(back) == sorted(modules)
        for name, module in modules.items():
            assert torch.equal(back[name].down, module.down)
            assert torch.equal(back[name].up, module.up)
            assert back[name].alpha == module.alpha


def test_layers_that_kohya_trained_as_one_are_taken_apart_as_they_are():
    down, up = torch.randn(3, 8), torch.randn(24, 3)
    x = torch.randn(5, 8)
    parts = from_flux({"double_blocks_0_txt_attn_qkv": LoraModule(down, up, 3.0)})
    assert sorted(parts) == [f"transformer_blocks_0_attn_add_{part}_proj" for part in "kqv"]
    outputs = [x @ (parts[f"transformer_blocks_0_attn_add_{part}_proj"].up @ down).T for part in "qkv"]
    assert torch.allclose(torch.cat(outputs, dim=1), x @ (up @ down).T, atol=1e-5)
    for name in ("transformer_blocks_0_nothing", "x"):
        with pytest.raises(ValueError, match="layer"):
            to_flux({name: LoraModule(down, up, 1.0)})
    with pytest.raises(ValueError, match="not one of FLUX's"):
        from_flux({"double_blocks_0_nothing": LoraModule(down, up, 1.0)})


@given(st.floats(0, 1), st.floats(0.1, 20))
def test_a_shift_above_one_moves_towards_noise_and_keeps_the_ends(share: float, shift: float):
    moved_to = float(shifted(torch.tensor([share], dtype=torch.float64), shift))
    assert 0 <= moved_to <= 1 + 1e-9
    assert (moved_to - share) * (shift - 1) >= -1e-9
    assert shifted(torch.tensor([0.0, 1.0]), shift).tolist() == pytest.approx([0, 1])


def test_the_shift_is_the_one_that_pictures_are_drawn_with():
    config = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
    for tokens in (256, 1024, 4096):
        assert scheduler_shift(config, tokens) == pytest.approx(np.exp(calculate_shift(tokens)))
    assert scheduler_shift({"shift": 3.0}, 4096) == 3.0


def test_the_flow_goes_straight_from_picture_to_noise():
    objective = FlowMatching()
    latents, noise = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)
    shares = torch.tensor([0.25, 1.0])
    noisy, velocity = objective.disturb(latents, noise, shares), objective.target(latents, noise, shares)
    assert torch.allclose(noisy - shares[:, None, None, None] * velocity, latents, atol=1e-6)
    assert torch.equal(noisy[1], noise[1])
    assert not objective.losses(velocity, velocity, shares).any()
    mask = torch.zeros(2, 1, 4, 4)
    mask[..., :2] = 1
    base = torch.zeros_like(velocity)
    inside = torch.where(mask > 0, velocity, base)
    assert not objective.losses(inside, velocity, shares, mask, Prior(base, 1.0)).any()


def test_shares_of_noise_are_drawn_as_the_settings_say():
    def mean(objective: FlowMatching) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(0)
        drawn = torch.cat([objective.draw_timestep(generator) for _ in range(2000)])
        assert 0 <= drawn.min() <= drawn.max() <= 1
        return float(drawn.mean()), float(drawn.std())

    assert mean(FlowMatching("uniform")) == pytest.approx((0.5, 0.289), abs=0.02)
    assert mean(FlowMatching("logit_normal")) == pytest.approx((0.5, 0.208), abs=0.02)
    assert mean(FlowMatching("logit_normal", 3.0))[0] > 0.65


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_latents_are_packed_as_diffusers_packs_them_and_back(channels: int, rows: int, columns: int):
    latents = torch.randn(2, channels, 2 * rows, 2 * columns)
    tokens = pack(latents)
    assert tokens.shape == (2, rows * columns, 4 * channels)
    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, channels, 2 * rows, 2 * columns))
    assert torch.equal(unpack(tokens, 2 * rows, 2 * columns), latents)


def test_captions_are_counted_as_t5_reads_them(base: Path):
    first, second = load_base(base, device="cpu").tokenizers
    prompt = "luca, on a beach"
    assert count_tokens(load_tokenizer(tokenizer_folder(base)), prompt) == len(second(prompt).input_ids)
    assert len(second(prompt).input_ids) != len(first(prompt).input_ids)
