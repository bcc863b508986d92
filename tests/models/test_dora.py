"""DoRAs learn, resume, and mean the same in the network, in a file, and in a stack."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.training import TrainSettings
from flows.checks.memory_faults import trainer_faults
from models.diffusion import load_base, sd15
from models.diffusion.families import networks_of
from models.diffusion.key_formats import KEY_FORMATS, no_dora
from models.diffusion.lora_file import AdapterSize, load_kohya, save_kohya
from models.diffusion.lora_stack import adapter_parameters, adapters_off, add_fresh_adapter, add_lora, set_lora_weights
from models.diffusion.merge import merge
from models.trainers.examples import prepare
from models.trainers.kohya_config import require_possible
from models.trainers.step import Adapter, Trainer
from tests.models.family_runs import (
    add_random_adapter,
    as_killed_after_the_first_checkpoint,
    left_by,
    save_adapter,
    tiny_examples,
    train_in,
)
from tests.models.test_lora_file import predicted
from tests.models.test_merge import said
from tests.random_base import make_random_base
from tests.random_flux import make_random_flux
from tests.random_qwen_image import make_random_qwen_image
from tests.random_sdxl import make_random_sdxl
from tests.small_project import CONFIG

SIZE = AdapterSize(3, 1.5, conv_rank=2, conv_alpha=1.0, dora=True)
ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
RESIDUAL = "mid_block.resnets.0.conv1"
PREFIX = "lora_unet_"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-dora", seed=0)


@pytest.fixture(scope="module")
def run(base, tmp_path_factory) -> Path:
    """A training that nobody disturbed, of the text encoder and residual blocks as well."""
    folder = tmp_path_factory.mktemp("run")
    examples = tiny_examples(tmp_path_factory.mktemp("examples"))
    train_in(folder, base, examples, dora=True, conv_rank=2, text_encoder_learning_rate=1e-2)
    return folder


@pytest.fixture(scope="module")
def file(base, tmp_path_factory) -> Path:
    """A DoRA of random values, far from its start."""
    model = sd15.load(base, device="cpu")
    add_random_adapter(model, SIZE)
    return save_adapter(model, SIZE, tmp_path_factory.mktemp("file") / "dora.safetensors")


def test_magnitudes_are_trained_and_written_as_lycoris_does(run):
    tensors = load_file(run / "lora.safetensors")
    scales = {key.removesuffix(".dora_scale"): value for key, value in tensors.items() if key.endswith("dora_scale")}
    assert scales.keys() == {key.removesuffix(".alpha") for key in tensors if key.endswith(".alpha")}
    assert {key.split("_")[1] for key in scales} == {"unet", "te"}
    for name, scale in scales.items():
        up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
        assert scale.shape == (len(up), *[1] * (down.dim() - 1))
    metadata = load_kohya(run / "lora.safetensors").metadata
    assert metadata["ss_network_module"] == "lycoris.kohya"
    assert '"dora_wd": "True"' in metadata["ss_network_args"]


def test_every_magnitude_begins_at_its_rows_length_and_moves(run, base):
    model = sd15.load(base, device="cpu")
    modules = load_kohya(run / "lora.safetensors").unet
    for layer in (ATTENTION, RESIDUAL):
        length = model.unet.get_submodule(layer).weight.flatten(1).norm(dim=1)
        moved = (modules[layer.replace(".", "_")].magnitude - length).abs() / length
        assert 1e-4 < moved.mean() < 0.1


def test_a_killed_training_goes_on_to_the_same_bytes(run, base, tmp_path, tmp_path_factory):
    killed = as_killed_after_the_first_checkpoint(run, tmp_path / "killed")
    examples = tiny_examples(tmp_path_factory.mktemp("examples"))
    train_in(killed, base, examples, dora=True, conv_rank=2, text_encoder_learning_rate=1e-2)
    assert left_by(killed) == left_by(run)


def test_a_magnitude_does_not_decay(base):
    settings = TrainSettings.model_validate({"rank": 2, "dora": True, "text_encoder_learning_rate": 0.0})
    adapter = Adapter(sd15.load(base, device="cpu"), settings)
    groups = adapter.groups(settings)
    assert [group.get("weight_decay") for group in groups] == [None, None, 0.0, 0.0]
    counts = [len(group["params"]) for group in groups]
    assert counts == [2 * len(adapter.tensors()) / 3, 0, len(adapter.tensors()) / 3, 0]


def test_in_half_precision_magnitudes_move_in_32_bits(base, tmp_path):
    settings = {"rank": 2, "dora": True, "precision": "bfloat16", "learning_rate": 1e-2, "resolution": 64, "batch": 2}
    changes = {"text_encoder_learning_rate": 0.0, "steps": 2, "warmup_steps": 0, "gradient_checkpointing": True}
    config = TrainSettings.model_validate(settings | changes)
    adapter = Adapter(sd15.load(base, config.precision, device="cpu"), config)
    before = [value.clone() for value in adapter.parameters(denoiser=True, magnitudes=True)]
    trainer = Trainer(adapter, prepare(adapter.model, tiny_examples(tmp_path), config), config)
    assert all(torch.isfinite(torch.tensor(trainer.step(number))) for number in range(2))
    for old, new in zip(before, adapter.parameters(denoiser=True, magnitudes=True), strict=True):
        assert new.dtype == torch.float32
        assert not torch.equal(old, new)


def test_a_layer_does_what_the_paper_says_and_a_strength_is_a_share_of_that(base, file):
    model = sd15.load(base, device="cpu")
    plain = {layer: model.unet.get_submodule(layer).weight.clone() for layer in (ATTENTION, RESIDUAL)}
    for name in ("one", "two"):
        add_lora(model, file, name)
    modules = load_kohya(file).unet
    inputs = {ATTENTION: torch.randn(2, 48), RESIDUAL: torch.randn(1, 48, 4, 4)}
    changed = {}
    for layer, weight in plain.items():
        module = modules[layer.replace(".", "_")]
        change = module.alpha / module.rank * (module.up.flatten(1) @ module.down.flatten(1)).reshape(weight.shape)
        length = (weight + change).flatten(1).norm(dim=1)
        rows = (module.magnitude / length).reshape(-1, *[1] * (weight.dim() - 1))
        changed[layer] = rows * (weight + change) - weight

    def expect(strength: float) -> None:
        for layer, weight in plain.items():
            found = model.unet.get_submodule(layer)
            bias = found.get_base_layer().bias
            mixed = weight + strength * changed[layer]
            if weight.dim() == 2:
                expected = torch.nn.functional.linear(inputs[layer], mixed, bias)
            else:
                expected = torch.nn.functional.conv2d(inputs[layer], mixed, bias, padding=1)
            torch.testing.assert_close(found(inputs[layer]), expected, rtol=1e-3, atol=1e-3)

    for weights in (
        {"one": 1.0},
        {"one": 0.4},
        {"one": 0.5, "two": 0.7},
        {"two": 0.7, "one": 0.5},
        {"two": 1.5, "one": -0.5},
        {"one": 1.0},
    ):
        set_lora_weights(model, weights)
        expect(sum(weights.values()))
    set_lora_weights(model, {})
    assert torch.equal(predicted(model), predicted(sd15.load(base, device="cpu")))


def test_loras_beside_a_dora_add_what_they_add_alone(base, file, tmp_path):
    model = sd15.load(base, device="cpu")
    add_random_adapter(model, AdapterSize(2, 1.0), seed=2)
    plain_lora = save_adapter(model, AdapterSize(2, 1.0), tmp_path / "lora.safetensors")
    model = sd15.load(base, device="cpu")
    add_lora(model, plain_lora, "lora")
    add_lora(model, file, "dora")
    seen, layer = torch.randn(2, 48), model.unet.get_submodule(ATTENTION)
    found = []
    for weights in ({}, {"lora": 0.8}, {"dora": 0.6}, {"lora": 0.8, "dora": 0.6}):
        set_lora_weights(model, weights)
        found.append(layer(seen))
    nothing, lora, dora, both = found
    torch.testing.assert_close(both - nothing, lora + dora - 2 * nothing, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "make"), [("sd15", make_random_base), ("sdxl", make_random_sdxl), ("qwen_image", make_random_qwen_image)]
)
def test_a_file_is_the_adapter_in_memory_and_is_read_as_it_was_written(family, make, tmp_path):
    base = make(tmp_path / "base")
    size = AdapterSize(2, 1.0, dora=True)
    model = load_base(base, device="cpu")
    plain = said(model)
    add_random_adapter(model, size)
    path = save_adapter(model, size, tmp_path / "dora.safetensors")
    trained = said(model)
    with adapters_off(*networks_of(model).values()):
        assert torch.equal(said(model), plain)
    weights = load_kohya(path, model.keys)
    save_kohya(tmp_path / "again.safetensors", weights, model.keys)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    model = load_base(base, device="cpu")
    add_lora(model, path, "one")
    for strength in (0.3, 1.0):
        set_lora_weights(model, {"one": strength})
        assert torch.equal(said(model), trained) == (strength == 1)
    assert (trained - plain).abs().max() > 1e-3


def test_what_cannot_be_a_dora_is_refused_with_what_to_do(base, file, tmp_path):
    settings = TrainSettings.model_validate({"rank": 2, "dora": True, "text_encoder_learning_rate": 0.0})
    flux = make_random_flux(tmp_path / "flux")
    with pytest.raises(InputFault, match=r"dora is on, but LoRA files of FLUX\.1 join layers"):
        Adapter(load_base(flux, device="cpu"), settings)
    assert [family for family, keys in KEY_FORMATS.items() if no_dora(keys)] == ["flux"]
    with pytest.raises(InputFault, match="sd-scripts train no DoRA"):
        require_possible(base, settings.model_copy(update={"masked_loss": False}))
    project = load_project(CONFIG, {"loras.luca.train.dora": "true", "loras.happy.train.dora": "true"})
    (fault,) = trainer_faults(project, flux, ["luca"])
    assert (fault.place, fault.severity) == ("loras.luca.train", "error")
    assert trainer_faults(project, base, ["luca", "happy"]) == []
    with pytest.raises(InputFault, match="it is not merged"):
        merge([(load_kohya(file), 1.0)])


def test_files_that_are_doras_of_another_kind_are_refused(base, file, tmp_path):
    tensors = load_file(file)
    scale = PREFIX + ATTENTION.replace(".", "_") + ".dora_scale"
    save_file({**tensors, scale: torch.ones(1, 48)}, tmp_path / "by_input.safetensors")
    with pytest.raises(InputFault, match=r"dora_scale is \(1, 48\), but there are 48 outputs"):
        load_kohya(tmp_path / "by_input.safetensors")
    save_file({key: value for key, value in tensors.items() if key != scale}, tmp_path / "some.safetensors")
    with pytest.raises(InputFault, match="but none for mid_block"):
        add_lora(sd15.load(base, device="cpu"), tmp_path / "some.safetensors", "some")


def test_a_fresh_dora_changes_nothing(base):
    model = sd15.load(base, device="cpu")
    plain = predicted(model)
    size = AdapterSize(2, 2.0, dora=True)
    add_fresh_adapter(model.unet, model.layers(size), "new", size)
    torch.testing.assert_close(predicted(model), plain, rtol=0, atol=1e-5)
    assert len(adapter_parameters(model.unet, "new")) % 3 == 0
