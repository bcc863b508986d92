"""Our data sets and LoRAs as sd-scripts' own classes see them: every picture in its bucket, every key of its shape.

Skipped where the submodule is empty or its environment was not made (`reel2lora doctor --setup kohya`).
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from data_contracts.exports import ExportSettings
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.buckets import MOST_STEP, buckets
from models.diffusion.lora_file import SD1_KEYS, AdapterSize, LoraWeights, from_peft, save_kohya
from models.diffusion.lora_stack import adapter_state, add_fresh_adapter
from models.diffusion.sgm_keys import SDXL_KEYS
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS, unet_layers
from models.exports.folder import export_dataset, read_export
from models.exports.pixels import load_pixels
from models.trainers.examples import cut, sizes_of
from models.trainers.kohya_dataset import write_dataset
from tests.models.export_items import item, mask, picture
from tests.real_sizes import OPENCLIP_BIG_G, SDXL_UNET
from tests.tiny_kohya import asked_of_sd_scripts

BETWEEN = (441, 640)
"""Nearer to 384x640 by width / height, to 448x576 by the ratio of both: the one measure is theirs, the other ours."""


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


SHOWN = {
    128: set(buckets(128)),
    512: set(buckets(512)),
    520: {(520, 520), (448, 576), (576, 448)},  # as crops are scaled: to the square, or to another bucket
}


@pytest.mark.parametrize("resolution", SHOWN)
def test_exported_pictures_are_read_in_their_own_size_to_the_pixel(resolution, tmp_path):
    """Of every shape, of two splits and roles: nothing is enlarged, and nothing cut off."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    items = []
    for number, size in enumerate(sorted(SHOWN[resolution])):
        made = picture(pictures, number, size), mask(pictures, number, size)
        items.append(item(*made, caption=f"luca, {size[0]} wide", repeats=1 + number))
        items.append(item(*made, caption="held", split="held_out", repeats=1))
        items.append(item(*made, caption="a girl", role="regularisation", repeats=2))
    folder = export_dataset("kohya", items, tmp_path / "out", ExportSettings(resolution=resolution))
    read = asked_of_sd_scripts("dataset", "dataset.toml", folder=folder)
    exported = {str(each.image.relative_to(folder)): each for each in read_export(folder)}
    assert set(read) == set(exported)
    for path, found in read.items():
        each, pixels = exported[path], load_pixels(exported[path])
        assert (found["split"], found["regularisation"]) == (each.split, each.role == "regularisation")
        assert (found["caption"], tuple(found["bucket"])) == (each.caption, pixels.size)
        assert found["scaled"] == found["bucket"]
        assert (found["pixels"], found["mask"]) == (digest(pixels.rgb), digest(pixels.weight))
    repeats = {found["caption"]: found["repeats"] for found in read.values() if found["split"] == "train"}
    assert {caption: count for caption, count in repeats.items() if caption != "a girl"} == {
        each.caption: each.repeats for each in items if each.role == "subject" and each.split == "train"
    }


def test_where_exports_leave_the_buckets_to_sd_scripts_they_have_all_that_we_have():
    """Of any resolution, and whichever of its shapes the pictures have."""
    cases = []
    for resolution in range(64, 1536, 8):
        whole = [size for size in buckets(resolution) if not any(side % MOST_STEP for side in size)]
        for shown in (whole, whole[:1], whole[1:3], whole[-1:]):
            sides = [resolution, *(side for size in shown for side in size)]
            least, most = min(sides) // MOST_STEP * MOST_STEP, -(-max(sides) // MOST_STEP) * MOST_STEP
            cases.append((shown, (resolution, max(MOST_STEP, least), most, MOST_STEP)))
    theirs = asked_of_sd_scripts("buckets", *(number for _, numbers in cases for number in numbers))
    for (shown, numbers), found in zip(cases, theirs, strict=True):
        assert set(shown) <= set(map(tuple, found)), numbers


@pytest.mark.parametrize(("bucketed", "resolution"), [(False, 512), (True, 64), (True, 512)])
def test_what_they_encode_in_a_training_is_what_native_encodes(bucketed, resolution, tmp_path):
    examples = []
    for number, size in enumerate([BETWEEN, (640, 441), (100, 90), (300, 700), (512, 512), (900, 600)]):
        files = picture(tmp_path, number, size), mask(tmp_path, number, size)
        examples.append(TrainExample(image=files[0], mask=files[1], caption=f"luca, {number}", repeats=1 + number % 2))
    chosen = {"resolution": resolution, "buckets": bucketed, "masked_loss": True, "masked_prior": 0.0, "batch": 2}
    settings = TrainSettings.model_validate({**chosen, "steps": 5, "warmup_steps": 0})
    request = TrainRequest(
        name="luca", base=tmp_path, examples=tuple(examples), output=tmp_path / "run", settings=settings
    )
    folder = tmp_path / "dataset"
    folder.mkdir()
    write_dataset(request, folder)
    read = {found["caption"]: found for found in asked_of_sd_scripts("dataset", "dataset.toml", folder=folder).values()}
    assert sorted(read) == [example.caption for example in examples]
    for example in examples:
        found, seen = read[example.caption], cut(example, sizes_of(settings, 8), masked=True)
        assert tuple(found["bucket"]) == tuple(found["scaled"]) == seen.size
        assert (found["pixels"], found["mask"]) == (digest(seen.picture), digest(seen.mask))
    assert not list(tmp_path.rglob("*.npz"))  # latents are kept in memory: none can be of another picture
    if bucketed and resolution == 512:
        assert read["luca, 0"]["bucket"] == [448, 576]


SIZES = {0: AdapterSize(4, 4.0), 2: AdapterSize(4, 4.0, conv_rank=2, conv_alpha=1.0)}


def real_networks(family: str) -> dict[str, torch.nn.Module]:
    """Return a family's networks in their real size, without their memory."""
    small = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    with torch.device("meta"):
        text_encoder = CLIPTextModel(CLIPTextConfig(**small))
        if family == "sd15":
            unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)  # the defaults are SD 1.5's
            return {"unet": unet, "text_encoder": text_encoder}
        unet = UNet2DConditionModel(**SDXL_UNET)
        second = CLIPTextModelWithProjection(CLIPTextConfig(**OPENCLIP_BIG_G))
        return {"unet": unet, "text_encoder": text_encoder, "text_encoder_2": second}


@pytest.fixture(scope="module")
def networks_lora():
    """Shapes of their network's tensors by key, by family and conv_rank."""
    return asked_of_sd_scripts("lora", SIZES[0].rank, *SIZES)


@pytest.mark.parametrize("conv_rank", SIZES)
@pytest.mark.parametrize(("family", "keys", "tensors"), [("sd15", SD1_KEYS, 792), ("sdxl", SDXL_KEYS, 2958)])
def test_keys_and_shapes_are_those_of_their_own_network(family, keys, tensors, conv_rank, networks_lora, tmp_path):
    modules = {"text_encoder": {}, "text_encoder_2": {}}
    for name, network in real_networks(family).items():
        size = SIZES[conv_rank if name == "unet" else 0]
        add_fresh_adapter(network, unet_layers(size) if name == "unet" else TEXT_ENCODER_LAYERS, "trained", size)
        state = {key: torch.zeros(value.shape) for key, value in adapter_state(network, "trained").items()}
        modules[name] = from_peft(state, size)
    path: Path = tmp_path / "lora.safetensors"
    save_kohya(path, LoraWeights(modules["unet"], modules["text_encoder"], {}, modules["text_encoder_2"]), keys)
    ours = {key: list(value.shape) for key, value in load_file(path).items()}
    assert ours == networks_lora[f"{family}-{conv_rank}"]
    assert len(ours) == tensors + (0 if not conv_rank else {"sd15": 258, "sdxl": 198}[family])
