"""A single checkpoint is the model that its diffusers folder is, to the bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_contracts.faults import InputFault
from models.diffusion import family_of, load_base, sd15, sdxl, tokenizer_folder
from models.weights import MissingWeights
from tests.models.ldm_checkpoint import write_checkpoint
from tests.random_base import make_random_base
from tests.random_sdxl import make_random_sdxl


@pytest.mark.parametrize(("family", "make"), [(sd15, make_random_base), (sdxl, make_random_sdxl)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_checkpoint_is_what_its_folder_is(family, make, precision: str, tmp_path: Path):
    folder = make(tmp_path / "base")
    file = write_checkpoint(folder, tmp_path / "base.safetensors")
    assert family_of(file) == family_of(folder)
    one = family.load(folder, precision, "cpu")
    other = family.load(file, precision, "cpu", folder)
    assert dict(one.scheduler.config) == dict(other.scheduler.config)
    for name, network in {"vae": one.vae, "unet": one.unet, **one.text_encoders}.items():
        theirs = getattr(other, name)
        assert theirs.dtype == network.dtype
        assert not theirs.training
        states = network.state_dict(), theirs.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), name
    with torch.no_grad():
        told = one.encode_prompts(["luca"]), other.encode_prompts(["luca"])
    assert all(torch.equal(told[0][key], told[1][key]) for key in told[0])


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    pickled = tmp_path / "base.ckpt"
    pickled.write_bytes(b"")
    with pytest.raises(InputFault, match=r"others may run code when opened"):
        load_base(pickled)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(InputFault, match="cannot be read as safetensors"):
        load_base(broken)
    save_file({"lora_unet_x": torch.ones(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(InputFault, match=r"no whole checkpoint of Stable Diffusion 1\.x or XL"):
        load_base(tmp_path / "lora.safetensors")


def test_without_its_configuration_the_command_that_fetches_it_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    names = ("model.diffusion_model.x", "cond_stage_model.transformer.x")
    save_file({name: torch.ones(1) for name in names}, tmp_path / "base.safetensors")
    with pytest.raises(MissingWeights, match="hf download stable-diffusion-v1-5/stable-diffusion-v1-5 model_index"):
        load_base(tmp_path / "base.safetensors", device="cpu")
    with pytest.raises(InputFault, match=r"base\.safetensors holds weights alone, and .* `hf download "):
        tokenizer_folder(tmp_path / "base.safetensors")
