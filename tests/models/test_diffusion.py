"""The random base, prompts, pictures, the loss, and generation that resumes."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from data_contracts.faults import InputFault
from data_contracts.generation import GenerateRequest, picture_name
from models.diffusion import load_base, sd15
from models.diffusion.drawing import Drawing
from models.diffusion.generate import generate
from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya
from models.diffusion.objective import Objective, Prior, learning_rate_factor, masked_mean, offset_noise
from models.pictures import read_rgb
from tests.random_base import make_random_base


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base", seed=0)


@pytest.fixture(scope="module")
def model(base: Path) -> sd15.StableDiffusion:
    return sd15.load(base, device="cpu")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_random_base_repeats(base: Path, tmp_path: Path):
    again = make_random_base(tmp_path / "again", seed=0)
    other = make_random_base(tmp_path / "other", seed=1)
    assert digests(again) == digests(base)
    assert digests(other)["unet/diffusion_pytorch_model.safetensors"] not in digests(base).values()
    assert sum(path.stat().st_size for path in base.rglob("*") if path.is_file()) < 20e6
    assert not list(base.rglob("*.bin"))


def test_the_random_base_is_the_real_thing_to_diffusers(base: Path, model):
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    words = "a photo of a cat, running!"
    assert pipeline.tokenizer(words).input_ids == [49406, 320, 1125, 539, 320, 2368, 267, 2761, 256, 49407]
    with torch.no_grad():
        theirs, _ = pipeline.encode_prompt(words, "cpu", 1, do_classifier_free_guidance=False)
        assert torch.equal(model.encode_prompts([words])["states"], theirs)


def test_the_older_files_of_published_models_are_read(base: Path, model, tmp_path: Path):
    """Stable Diffusion 1.5 as published has `text_model.` in its keys, and the tokenizer as vocabulary and merges."""
    old = shutil.copytree(base, tmp_path / "old")
    states = load_file(old / "text_encoder/model.safetensors")
    states = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in states.items()}
    save_file(states, old / "text_encoder/model.safetensors", {"format": "pt"})
    entries = json.loads((old / "tokenizer/tokenizer.json").read_text())["model"]
    (old / "tokenizer/tokenizer.json").unlink()
    (old / "tokenizer/vocab.json").write_text(json.dumps(entries["vocab"]))
    pairs = (" ".join(pair) for pair in entries["merges"])
    (old / "tokenizer/merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    with torch.no_grad():
        words = ["Luca's boat, 12 o'clock!", ""]
        theirs = sd15.load(old, device="cpu").encode_prompts(words)["states"]
        assert torch.equal(theirs, model.encode_prompts(words)["states"])


def test_a_prompt_too_long_is_refused_not_cut(model):
    with pytest.raises(InputFault, match="has 232 tokens, ends included; 227 are read"):
        model.encode_prompts(["cat " * 230])["states"]


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path):
    with pytest.raises(InputFault, match=r"no model_index\.json"):
        sd15.load(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(InputFault, match="is of the family flux, not a StableDiffusionPipeline"):
        sd15.load(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "KolorsPipeline"}')
    with pytest.raises(InputFault, match="is a KolorsPipeline; known are StableDiffusionPipeline, "):
        load_base(tmp_path)


def test_latents_are_an_eighth_and_scaled(model):
    images = torch.rand((3, 3, 64, 96), generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_images(images)
    assert latents.shape == (3, 4, 8, 12)
    with torch.no_grad():
        assert torch.allclose(latents[:1], model.vae.encode(images[:1]).latent_dist.mean * 0.18215, atol=1e-6)


def test_a_picture_depends_on_its_own_seed(model):
    drawing = Drawing(steps=4, guidance=5.0, size=64)
    three = model.sample(["a cat"] * 3, "", [1, 2, 3], drawing)
    alone = model.sample(["a cat"], "", [2], drawing)[0]
    assert alone.shape == (64, 64, 3)
    assert np.abs(three[1].astype(int) - alone).max() <= 2  # batches of another size round differently
    assert np.abs(three[0].astype(int) - alone).mean() > 10
    assert np.array_equal(model.sample(["a cat"] * 3, "", [1, 2, 3], drawing)[2], three[2])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights_follow_the_paper(kind):
    scheduler = DDPMScheduler(prediction_type=kind)
    timesteps = torch.tensor([0, 100, 500, 999])
    kept = scheduler.alphas_cumprod[timesteps]
    snr = kept / (1 - kept)
    least = torch.minimum(snr, torch.tensor(5.0))
    expected = least / snr if kind == "epsilon" else least / (snr + 1)
    assert torch.allclose(Objective(scheduler, 5.0).weights(timesteps), expected)
    assert torch.equal(Objective(scheduler, 0.0).weights(timesteps), torch.ones(4))


def test_targets_are_the_noise_or_the_velocity():
    latents, noise, timesteps = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([10, 800])
    assert Objective(DDPMScheduler()).target(latents, noise, timesteps) is noise
    velocity = Objective(DDPMScheduler(prediction_type="v_prediction"))
    kept = velocity.scheduler.alphas_cumprod[timesteps][:, None, None, None]
    expected = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    assert torch.allclose(velocity.target(latents, noise, timesteps), expected, atol=1e-6)
    with pytest.raises(ValueError, match="predicts 'sample'"):
        Objective(DDPMScheduler(prediction_type="sample")).target(latents, noise, timesteps)


@given(st.integers(1, 63), st.floats(0.1, 10))
def test_a_small_mask_counts_as_much_as_a_large_one(pixels: int, error: float):
    mask = (torch.arange(64) < pixels).float().reshape(1, 1, 8, 8)
    errors = torch.where(mask.bool(), torch.tensor(error), torch.tensor(1e3)).expand(1, 4, 8, 8)
    assert masked_mean(errors, mask).item() == pytest.approx(error, rel=1e-5)


@given(st.floats(0.01, 1), st.floats(0.1, 1))
def test_outside_a_mask_only_what_leaves_the_prior_is_an_error(weight: float, shown: float):
    objective, timesteps = Objective(DDPMScheduler()), torch.tensor([500])
    mask = shown * (torch.arange(64) < 16).float().reshape(1, 1, 8, 8)
    target, base = torch.ones(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    prior = Prior(base, weight)

    def loss_of(prediction: torch.Tensor) -> float:
        return float(objective.losses(prediction, target, timesteps, mask, prior))

    kept = weight * (64 - 16 * shown)
    assert loss_of(base) == pytest.approx(16 * shown / (16 * shown + kept), rel=1e-4)
    assert loss_of(target) == pytest.approx(kept / (16 * shown + kept), rel=1e-4)
    assert loss_of(torch.where(mask > 0, target, base)) == pytest.approx(
        weight * 16 * (1 - shown) / (16 * shown + kept), rel=1e-4, abs=1e-6
    )


def test_an_empty_mask_is_an_error():
    with pytest.raises(ValueError, match="mask 1 of the batch is empty"):
        masked_mean(torch.ones(2, 4, 8, 8), torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)]))


def test_offset_noise_moves_whole_channels():
    noise, offsets = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 1, 1)
    moved = offset_noise(noise, offsets, 0.1) - noise
    assert torch.allclose(moved, 0.1 * offsets.expand_as(noise), atol=1e-6)


@given(st.integers(2, 500), st.data())
def test_the_learning_rate_rises_then_falls(steps: int, data):
    warmup = data.draw(st.integers(0, steps - 1))
    rates = [learning_rate_factor(step, steps, warmup, cycles=1) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[warmup] == 1
    assert learning_rate_factor(steps - 1, steps, warmup, cycles=None) <= 1


def test_the_cosine_restarts_at_its_peak():
    assert learning_rate_factor(50, 100, 0, cycles=2) == 1
    assert learning_rate_factor(49, 100, 0, cycles=2) < 0.01


def random_lora(path: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(shape, generator=generator) for shape in ((2, 48), (48, 2)))
    module = LoraModule(down, up, 2.0)
    save_kohya(path, LoraWeights({"mid_block_attentions_0_transformer_blocks_0_attn1_to_v": module}, {}, {}))
    return path


def write_request(base: Path, folder: Path) -> Path:
    request = GenerateRequest.model_validate(
        {
            "base": base,
            "loras": [{"name": "luca", "path": random_lora(folder / "luca.safetensors", 1)}],
            "variants": [
                {"name": "none"},
                {"name": "zero", "weights": {"luca": 0}},
                {"name": "luca at 1", "weights": {"luca": 1}},
            ],
            "prompts": ["luca", "luca running"],
            "seeds": [1, 2],
            "steps": 2,
            "size": 64,
            "batch": 3,
            "output": folder / "pictures",
            "threads": 1,
        }
    )
    path = folder / "request.json"
    path.write_text(request.model_dump_json())
    return path


def test_generation_draws_all_and_goes_on_where_it_stopped(base: Path, tmp_path: Path, capsys):
    request = write_request(base, tmp_path)
    generate(request)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["progress", *["picture"] * 12, "done"]
    pictures = tmp_path / "pictures"
    whole = digests(pictures)
    assert len(whole) == 12
    assert "luca_at_1-01-2.png" in whole
    assert all(whole[f"none-{rest}"] == whole[f"zero-{rest}"] for rest in ("00-1.png", "00-2.png", "01-1.png"))
    assert whole["luca_at_1-00-1.png"] != whole["none-00-1.png"]
    assert read_rgb(pictures / "none-00-1.png").shape == (64, 64, 3)
    (pictures / "none-01-1.png").unlink()
    (pictures / "luca_at_1-00-2.png").unlink()
    (pictures / "zero-00-1.png").write_bytes(b"kept as it is")
    generate(request)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(event["image"]).name for event in events if event["event"] == "picture"] == [
        "none-01-1.png",
        "luca_at_1-00-2.png",
    ]
    again = digests(pictures)
    assert again.pop("zero-00-1.png") != whole.pop("zero-00-1.png")
    assert again == whole


@given(st.text(min_size=1), st.integers(0, 99), st.integers(0, 2**40))
def test_picture_names_are_plain_file_names(variant: str, prompt: int, seed: int):
    name = picture_name(variant, prompt, seed)
    assert Path(name).name == name
    assert name.isascii()
    assert name.endswith(f"-{prompt:02}-{seed}.png")


def test_requests_that_make_no_sense_are_refused(tmp_path: Path):
    good = {"base": tmp_path, "prompts": ["a"], "seeds": [1], "output": tmp_path}
    with pytest.raises(ValidationError, match="weighs 'luca', which is not among the LoRAs"):
        GenerateRequest.model_validate({**good, "variants": [{"name": "v", "weights": {"luca": 1}}]})
    with pytest.raises(ValidationError, match="'a_b' occurs twice"):
        GenerateRequest.model_validate({**good, "variants": [{"name": "a b"}, {"name": "a/b"}]})
    with pytest.raises(ValidationError, match="seed '1' occurs twice"):
        GenerateRequest.model_validate({**good, "variants": [{"name": "v"}], "seeds": [1, 1]})
