"""What a training takes is known before it starts: near the field's figures, and near a count of every allocation."""

import json
import math
import weakref
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.project_file import load_project
from data_contracts.records import BaseFamily
from data_contracts.training import TrainSettings
from models.diffusion import PIPELINES
from models.diffusion.lite_base import FOLDER
from models.diffusion.memory import DORA_ACTIVATIONS, FLOAT32_ACTIVATIONS, SIZES, machine, training_need
from tests.models.ldm_checkpoint import write_checkpoint
from tests.random_base import make_random_base
from tests.small_project import CONFIG

SD15 = "StableDiffusionPipeline"
SD15_UNET = {"cross_attention_dim": 768, "block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8}


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    def make(pipeline: str) -> Path:
        folder = tmp_path_factory.mktemp("base")
        (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
        return folder

    return make


def needed(base: Path, *, on_gpu: bool = True, **values: object) -> float:
    need = training_need(base, TrainSettings.model_validate({"precision": "bfloat16", **values}), on_gpu=on_gpu)
    assert need is not None
    return need.device


def test_sd15_comes_out_at_the_fields_figures(base_of):
    base = base_of(SD15)
    assert 5.5 < needed(base, gradient_checkpointing=True) < 6.5
    assert 6 < needed(base) < 8
    assert 8 < needed(base, precision="float32") < 12


def test_larger_families_take_more(base_of):
    assert set(SIZES) == set(get_args(BaseFamily))
    bases = [base_of(name) for name in PIPELINES]
    sizes = [needed(base, resolution=1024, rank=16, gradient_checkpointing=True) for base in bases]
    assert sizes == sorted(sizes)
    assert 12 < sizes[1] < 18  # SDXL, bfloat16: known to fit 16 GB tightly
    assert sizes[2] > 24  # FLUX needs a quantised base there


def test_four_bits_bring_the_large_families_onto_24_gb(base_of):
    large = {"resolution": 1024, "rank": 16, "gradient_checkpointing": True, "text_encoder_learning_rate": 0.0}
    for name in list(PIPELINES)[2:]:
        assert needed(base_of(name), **large) > 40
        assert 13 < needed(base_of(name), precision="nf4", **large) < 24


def test_sdxl_of_rank_64_fits_16_gb_with_moments_of_8_bits(base_of):
    sdxl = base_of("StableDiffusionXLPipeline")
    tight = {"resolution": 1024, "rank": 64, "gradient_checkpointing": True}
    assert needed(sdxl, optimizer="adamw8bit", text_encoder_learning_rate=0.0, **tight) < 16
    assert needed(sdxl, optimizer="adamw8bit", **tight) > 16
    assert needed(sdxl, **tight) - needed(sdxl, optimizer="adamw8bit", **tight) > 1


@pytest.mark.parametrize(
    ("profile", "pipelines"),
    [
        ("sd15-16gb", ["StableDiffusionPipeline"]),
        ("sdxl-16gb", ["StableDiffusionXLPipeline"]),
        ("flux-24gb", ["FluxPipeline"]),
        ("qwen-image-24gb", ["QwenImagePipeline", "QwenImageEditPipeline"]),
    ],
)
def test_what_a_profile_trains_fits_the_card_that_it_is_named_after(profile, pipelines, base_of, monkeypatch):
    card = int(profile.removesuffix("gb").rsplit("-", 1)[1])
    for base in map(base_of, pipelines):
        monkeypatch.setenv("REEL2LORA_ALLOW", str(base))
        project = load_project(CONFIG, {"profile": profile, "base": str(base)})
        needs = [training_need(base, plan.train.settings, on_gpu=True) for plan in project.loras.values()]
        assert all(need.device < card for need in needs)


def test_what_is_no_known_pipeline_has_no_estimate(base_of, tmp_path):
    assert training_need(base_of("OtherPipeline"), TrainSettings(), on_gpu=True) is None
    assert training_need(tmp_path, TrainSettings(), on_gpu=True) is None
    (tmp_path / "lora.safetensors").write_bytes(b"")
    assert training_need(tmp_path / "lora.safetensors", TrainSettings(), on_gpu=True) is None


def test_a_checkpoint_is_counted_as_its_folder_is(tmp_path):
    folder = make_random_base(tmp_path / "base")
    file = write_checkpoint(folder, tmp_path / "base.fp16.safetensors")
    (tmp_path / "another.safetensors").write_bytes(b"")
    # At 8 pixels there is next to nothing but weights; a checkpoint's networks are taken for as wide as SD 1.5's.
    values = {"resolution": 64, "rank": 1, "text_encoder_learning_rate": 0.0, "batch": 1}
    counted = [needed(base, on_gpu=False, precision="float32", **values) for base in (folder, file)]
    assert counted[0] <= counted[1] < counted[0] + 0.1 < 1


def test_a_small_base_is_counted_by_its_files():
    small = needed(FOLDER, on_gpu=False, resolution=128, batch=4, rank=16, precision="float32")
    assert 0.75 < small < 1.1  # 0.75 GB were measured
    assert 0.97 < needed(FOLDER, on_gpu=False, resolution=256, batch=4, rank=16, precision="float32") < 1.4


@given(
    batch=st.integers(1, 16),
    rank=st.integers(1, 256),
    resolution=st.sampled_from(range(64, 2049, 64)),
    on_gpu=st.booleans(),
)
def test_more_of_anything_never_takes_less(base_of, batch, rank, resolution, on_gpu):
    base = base_of(SD15)
    values = {"batch": batch, "rank": rank, "resolution": resolution, "gradient_checkpointing": True}
    least = needed(base, on_gpu=on_gpu, **values)
    for key, value in {
        "batch": batch + 1, "rank": rank + 1, "resolution": min(2048, resolution + 64), "gradient_checkpointing": False,
        "precision": "float32", "conv_rank": 8,
    }.items():  # fmt: skip
        assert needed(base, on_gpu=on_gpu, **{**values, key: value}) >= least
    assert needed(base, on_gpu=on_gpu, **values, text_encoder_learning_rate=0) <= least


def test_drawing_in_float32_keeps_the_weights_that_loras_are_folded_into(base_of):
    base = base_of(SD15)
    small = {"resolution": 64, "precision": "float32", "conv_rank": 8}  # a step keeps less than the U-Net's 3.4 GB
    drawing = needed(base, **small, sample_every=10, sample_prompts=["{trigger}"]) - needed(base, **small)
    assert 3 < drawing < 4.5
    assert needed(base, resolution=64, sample_every=10, sample_prompts=["{trigger}"]) == needed(base, resolution=64)


def test_processes_share_a_cpus_memory_and_have_a_gpu_each(base_of):
    base = base_of(SD15)
    alone, both = {"accumulate": 2}, {"accumulate": 2, "processes": 2}
    assert needed(base, on_gpu=False, **both) == pytest.approx(2 * needed(base, on_gpu=False, **alone))
    assert needed(base, **both) == needed(base, **alone)


def test_this_machine_has_memory():
    here = machine()
    assert 0 < here.host_free <= here.host
    assert (here.vram > 0) == bool(here.gpu)


@pytest.mark.parametrize(("checkpointing", "dora"), [(False, False), (True, False), (False, True)])
def test_activations_are_as_counted_without_data(checkpointing, dora):
    """The constants of SD 1.5, counted anew: every allocation and release of a step at 256 pixels."""
    peak = counted_step(SD15_UNET, side=32, checkpointing=checkpointing, dora=dora)
    family = SIZES["sd15"]
    each = family.checkpointed if checkpointing else family.kept
    each *= DORA_ACTIVATIONS if dora else 1
    assert 0.9 < each * 256**2 / 1e6 * FLOAT32_ACTIVATIONS / peak < 1.4


def test_a_dora_keeps_more_of_a_step(base_of):
    base = base_of(SD15)
    assert 1 < needed(base, dora=True, batch=2) - needed(base, batch=2) < 4


def counted_step(config: dict[str, object], side: int, *, checkpointing: bool, dora: bool) -> float:
    """Return the GB that a step in float32 allocates at its peak, beyond weights and their gradients."""
    import torch
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig, inject_adapter_in_model
    from torch._subclasses.fake_tensor import FakeTensorMode

    from models.diffusion.unet_layers import UNET_LAYERS

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=side, **config)
        inject_adapter_in_model(LoraConfig(r=16, lora_alpha=16, target_modules=UNET_LAYERS, use_dora=dora), unet, "t")
    with FakeTensorMode():
        for name, module in unet.named_modules():
            for key, value in module._parameters.items():
                if value is not None:
                    module._parameters[key] = torch.nn.Parameter(
                        torch.empty(value.shape), requires_grad="lora_" in name
                    )
        if checkpointing:
            unet.enable_gradient_checkpointing()
        unet.train()
        live = live_bytes()
        for parameter in unet.parameters():
            live.sizes[parameter.untyped_storage()] = 0
        with live:
            states = torch.randn(1, 77, 768)
            unet(torch.randn(1, 4, side, side), torch.tensor([1]), states).sample.square().mean().backward()
        gradients = sum(math.prod(p.shape) * 4 for p in unet.parameters() if p.requires_grad)
        return (live.peak - gradients) / 1e9


def live_bytes():
    """Return a mode that follows how many bytes of tensors are alive."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Live(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.peak = 0
            self.sizes = weakref.WeakKeyDictionary()

        def __torch_dispatch__(self, call, types, args=(), kwargs=None):
            result = call(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self.sizes:
                    self.sizes[storage] = size = storage.nbytes()
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self.forget, size)
            return result

        def forget(self, size: int) -> None:
            self.now -= size

    return Live()
