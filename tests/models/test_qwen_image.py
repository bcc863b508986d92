"""Qwen-Image: trains, goes on to the same bytes, reads and draws as diffusers does, and its LoRAs load there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
from safetensors.torch import load_file

from data_contracts.faults import InputFault
from models.caption.tokens import load_tokenizer
from models.diffusion import load_base, qwen_image, tokenizer_folder
from models.diffusion.drawing import Drawing
from models.diffusion.flow_transformer import ATTENTION_LAYERS
from models.diffusion.lora_file import AdapterSize, LoraModule, from_peft, load_kohya, save_kohya
from models.diffusion.lora_stack import adapter_state, add_fresh_adapter, add_lora, set_lora_weights
from models.diffusion.qwen_keys import QWEN_KEYS, from_dotted, to_dotted
from tests.models.family_runs import (
    add_random_adapter,
    as_killed_after_the_first_checkpoint,
    left_by,
    save_adapter,
    tiny_examples,
    train_in,
)
from tests.models.tiny_qwen import WIDTH
from tests.random_qwen_image import make_random_qwen_image

PROMPTS = ["luca running", "", "luca in a harbour at night"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_qwen_image(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_in(folder / "run", base, tiny_examples(folder), gradient_checkpointing=True)
    return folder / "run"


def test_a_run_learns_and_its_file_says_so(run: Path):
    tensors = load_file(run / "lora.safetensors")
    ups = [key for key, value in tensors.items() if key.endswith(".lora_B.weight") and bool(value.any())]
    assert len(ups) == 2 * 4
    assert "diffusion_model.transformer_blocks.1.attn.to_out.0.lora_B.weight" in ups
    metadata = load_kohya(run / "lora.safetensors", QWEN_KEYS).metadata
    assert metadata["modelspec.architecture"] == "Qwen-Image/lora"
    assert (run / "samples/step-000004-0.png").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(run: Path, base: Path, tmp_path: Path):
    copy = as_killed_after_the_first_checkpoint(run, tmp_path / "copy")
    train_in(copy, base, tiny_examples(tmp_path), gradient_checkpointing=True)
    assert left_by(copy) == left_by(run)


def test_low_precision_trains_too(base: Path, tmp_path: Path):
    examples = tiny_examples(tmp_path)
    changes = {"precision": "bfloat16", "masked_loss": False, "timestep_sampling": "uniform", "timestep_shift": 2.0}
    tensors = load_file(train_in(tmp_path / "run", base, examples, sample_every=0, **changes))
    assert all(bool(value.isfinite().all()) for value in tensors.values())


def test_prompts_are_read_as_diffusers_reads_them_and_each_by_itself(base: Path):
    model = qwen_image.load(base, device="cpu")
    with torch.no_grad():
        told = model.encode_prompts(PROMPTS)
        pipeline = QwenImagePipeline.from_pretrained(base)
        for number, prompt in enumerate(PROMPTS):
            states, _ = pipeline.encode_prompt(prompt)
            length = states.shape[1]
            assert torch.equal(told["states"][number, :length], states[0])
            assert told["mask"][number].tolist() == [1] * length + [0] * (told["mask"].shape[1] - length)
    assert told["states"].shape[2] == WIDTH
    with pytest.raises(InputFault, match="1024 are read"):
        model.encode_prompts(["luca " * 300])


def test_our_pictures_are_those_of_diffusers(base: Path):
    model = qwen_image.load(base, device="cpu")
    picture = model.sample(["luca"], "blurry", [3], Drawing(steps=2, guidance=3.0, size=64))[0]
    images = QwenImagePipeline.from_pretrained(base)(
        "luca",
        negative_prompt="blurry",
        true_cfg_scale=3.0,
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    assert np.abs(images[0] * 255 - picture).max() <= 1


def test_latents_come_back_as_pictures_of_the_same_frame(base: Path):
    model = qwen_image.load(base, device="cpu")
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode_images(images)
    assert latents.shape == (2, 16, 8, 8)
    mean, deviation = (torch.tensor(model.vae.config[name]) for name in ("latents_mean", "latents_std"))
    with torch.no_grad():
        theirs = model.vae.encode(images[:1, :, None]).latent_dist.mode()[0, :, 0]
    assert torch.allclose(latents[0], (theirs - mean[:, None, None]) / deviation[:, None, None], atol=1e-5)


def denoised(model: qwen_image.QwenImage, prompts: list[str]) -> torch.Tensor:
    noisy = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(7)).expand(len(prompts), -1, -1, -1)
    with torch.no_grad():
        return model.predict(noisy, torch.full((len(prompts),), 0.5), model.encode_prompts(prompts))


def test_what_is_predicted_does_not_depend_on_longer_neighbours(base: Path):
    model = qwen_image.load(base, device="cpu")
    together = denoised(model, PROMPTS)
    for number, prompt in enumerate(PROMPTS):
        assert torch.allclose(together[number], denoised(model, [prompt])[0], atol=1e-5)


@pytest.mark.parametrize(("alpha", "off"), [(2.0, 0), (3.0, 1e-5)])
def test_diffusers_own_loader_gives_the_output_of_the_adapter_in_memory(
    base: Path, tmp_path: Path, alpha: float, off: float
):
    size = AdapterSize(4, alpha)
    model = qwen_image.load(base, device="cpu")
    plain = denoised(model, ["luca"])
    add_random_adapter(model, size)
    path = save_adapter(model, size, tmp_path / "lora.safetensors")
    theirs = qwen_image.load(base, device="cpu")
    theirs._pipeline().load_lora_weights(path)
    torch.testing.assert_close(denoised(theirs, ["luca"]), denoised(model, ["luca"]), rtol=0, atol=off)
    assert (denoised(model, ["luca"]) - plain).abs().max() > 1e-2
    again = load_base(base, device="cpu")
    add_lora(again, path, "luca")
    set_lora_weights(again, {"luca": 1.0})
    assert torch.equal(denoised(again, ["luca"]), denoised(model, ["luca"]))
    save_kohya(tmp_path / "copy.safetensors", load_kohya(path, QWEN_KEYS), QWEN_KEYS)
    ours, copy = load_file(path), load_file(tmp_path / "copy.safetensors")
    assert all(torch.equal(ours[key], copy[key]) for key in ours | copy)


def test_our_layers_on_the_real_architecture():
    with torch.device("meta"):
        transformer = QwenImageTransformer2DModel()
        add_fresh_adapter(transformer, ATTENTION_LAYERS, "trained", AdapterSize(4, 2.0))
    found = from_peft(adapter_state(transformer, "trained"), AdapterSize(4, 2.0))
    assert len(found) == 60 * 4
    assert set(to_dotted(found)) < {name for name, _ in transformer.named_modules()}
    assert list(from_dotted(to_dotted(found))) == list(found)
    with pytest.raises(ValueError, match="in no block"):
        to_dotted({"img_in": LoraModule(torch.ones(1), torch.ones(1), 1.0)})


def test_captions_are_counted_as_the_text_encoder_reads_them(base: Path):
    prompt = "luca, on a beach"
    counted = load_tokenizer(tokenizer_folder(base))(prompt)["input_ids"]
    assert counted == load_base(base, device="cpu").tokenizer(prompt).input_ids
