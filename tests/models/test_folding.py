"""LoRAs folded into the weights: the same answers, and the same weights again afterwards."""

from contextlib import suppress

import pytest
import torch
from peft.tuners.lora import LoraLayer

from models.diffusion import load_base
from models.diffusion.families import DENOISER, networks_of
from models.diffusion.folding import folded
from models.diffusion.lora_file import AdapterSize
from models.diffusion.lora_stack import adapters_off, add_lora, set_lora_weights
from tests.models.family_runs import add_random_adapter, save_adapter
from tests.random_base import make_random_base


def loaded(folder, size, precision="float32"):
    base = make_random_base(folder / "base")
    model = load_base(base, device="cpu")
    add_random_adapter(model, size)
    file = save_adapter(model, size, folder / "lora.safetensors")
    model = load_base(base, precision, device="cpu")
    for name in ("a", "b"):
        add_lora(model, file, name)
    set_lora_weights(model, {"a": 0.7, "b": -0.4})
    return model


@pytest.fixture(params=[AdapterSize(2, 2.0), AdapterSize(2, 2.0, 2, 1.0)], ids=["attention", "convolutions too"])
def model(request, tmp_path):
    return loaded(tmp_path, request.param)


def layers_of(model):
    return [each for net in networks_of(model).values() for each in net.modules() if isinstance(each, LoraLayer)]


def weights_of(model):
    return [layer.get_base_layer().weight.detach().clone() for layer in layers_of(model)]


@torch.no_grad()
def answer(model):
    generator = torch.Generator().manual_seed(1)
    states = model.text_encoder(torch.arange(8)[None])[0]
    noisy = torch.randn(1, model.unet.config.in_channels, 8, 8, generator=generator)
    return model.unet(noisy, torch.tensor([500]), states).sample


def test_the_answer_is_the_same_and_no_adapter_works_beside_its_layer(model):
    beside = answer(model)
    with folded(*networks_of(model).values()):
        within = answer(model)
        for layer in layers_of(model):
            x = torch.randn(1, *layer.get_base_layer().weight.shape[1:])
            if isinstance(layer.get_base_layer(), torch.nn.Linear):
                assert torch.equal(layer(x), layer.get_base_layer()(x))
    assert torch.allclose(within, beside, atol=1e-5)
    with adapters_off(*networks_of(model).values()):
        assert not torch.allclose(answer(model), beside, atol=1e-3)


def test_the_weights_are_the_same_bits_again_even_after_a_fault(model):
    before, beside = weights_of(model), answer(model)
    with suppress(InterruptedError), folded(*networks_of(model).values()):
        assert not any(torch.equal(now, then) for now, then in zip(weights_of(model), before, strict=True))
        raise InterruptedError
    assert all(torch.equal(now, then) for now, then in zip(weights_of(model), before, strict=True))
    assert torch.equal(answer(model), beside)


def test_what_is_off_stays_off(model):
    set_lora_weights(model, {})
    before = weights_of(model)
    with folded(networks_of(model)[DENOISER]):
        assert all(torch.equal(now, then) for now, then in zip(weights_of(model), before, strict=True))


@pytest.mark.parametrize(
    ("size", "precision"),
    [
        pytest.param(AdapterSize(2, 2.0), "bfloat16", id="half precision would round"),
        pytest.param(AdapterSize(2, 2.0, dora=True), "float32", id="DoRA"),
    ],
)
def test_adapters_that_would_lose_by_it_work_beside_their_layers(tmp_path, size, precision):
    model = loaded(tmp_path, size, precision)
    before = weights_of(model)
    with folded(*networks_of(model).values()):
        assert all(torch.equal(now, then) for now, then in zip(weights_of(model), before, strict=True))
        assert not any(layer.merged for layer in layers_of(model))
