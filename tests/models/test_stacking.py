"""Stacks of LoRAs that are summed, take turns or each predict alone: the formulas, on tiny models of every family."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.lora import LoraLayer
from pydantic import ValidationError

from data_contracts.faults import InputFault
from data_contracts.generation import GenerateRequest, Variant
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.families import View, networks_of, to_levels
from models.diffusion.folding import folded
from models.diffusion.generate import generate
from models.diffusion.lora_file import AdapterSize, LoraModule, LoraWeights, save_kohya
from models.diffusion.lora_stack import adapter_parameters, add_lora, set_lora_weights
from models.diffusion.regions import parts_of
from models.diffusion.stacking import Batch, sample_stacked, turn_of
from models.pictures import read_rgb
from tests.models.family_runs import add_random_adapter, save_adapter
from tests.random_base import make_random_base
from tests.random_flux import make_random_flux
from tests.random_qwen_image import make_random_qwen_image, make_random_qwen_image_edit
from tests.random_sdxl import make_random_sdxl

MAKERS = {
    "sd15": make_random_base,
    "sdxl": make_random_sdxl,
    "flux": make_random_flux,
    "qwen_image": make_random_qwen_image,
    "qwen_image_edit": make_random_qwen_image_edit,
}
BATCH = Batch(["luca running", "luca"], "", [1, 2])
STEPS, GUIDANCE = 3, 4.0


@pytest.fixture(scope="module", params=MAKERS)
def family(request, tmp_path_factory):
    """A base model with the LoRAs a, b, and c, which is a again; the text encoders' too, where there are any."""
    folder = tmp_path_factory.mktemp(request.param)
    base = MAKERS[request.param](folder / "base")
    size, model = AdapterSize(2, 2.0), load_base(base, device="cpu")
    add_random_adapter(model, size)
    one = save_adapter(model, size, folder / "one.safetensors")
    for network in networks_of(model).values():
        for parameter in adapter_parameters(network, "trained").values():
            torch.nn.init.normal_(parameter, std=0.3)
    two = save_adapter(model, size, folder / "two.safetensors")
    model = load_base(base, device="cpu")
    for name, path in {"a": one, "b": two, "c": one}.items():
        add_lora(model, path, name)
    return model


def drawing(model) -> Drawing:
    controls = tuple(np.full((64, 64, 3), 90 * n, np.uint8) for n in range(2)) if model.edits else ()
    return Drawing(STEPS, GUIDANCE, 64, controls)


def drawn(model, weights: dict[str, float], method: str = "linear", **more) -> np.ndarray:
    variant = Variant(name="v", weights=weights, method=method, **more)
    return np.stack(sample_stacked(model, variant, BATCH, drawing(model)))


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pictures differ by no more than rounding: a sum is drawn with LoRAs folded into the weights."""
    apart = np.abs(one.astype(int) - other)
    return int(apart.max()) <= 1 and float((apart > 0).mean()) < 0.001


def sampled(model, weights: dict[str, float]) -> np.ndarray:
    """Return what the family itself draws, each LoRA beside the layers that it changes."""
    set_lora_weights(model, weights)
    return np.stack(model.sample(BATCH.prompts, BATCH.negative_prompt, BATCH.seeds, drawing(model)))


def test_a_linear_stack_is_what_the_family_samples(family):
    stack = {"a": 0.5, "b": 0.8}
    beside = sampled(family, stack)
    with folded(*networks_of(family).values()):
        within = np.stack(family.sample(BATCH.prompts, BATCH.negative_prompt, BATCH.seeds, drawing(family)))
    assert np.array_equal(drawn(family, stack), within)
    assert alike(within, beside)


def test_one_lora_is_the_same_whatever_the_method(family):
    alone = sampled(family, {"a": 0.7})
    assert not np.array_equal(alone, sampled(family, {}))
    assert alike(drawn(family, {"a": 0.7}), alone)
    for method in ("switch", "composite"):
        assert np.array_equal(drawn(family, {"a": 0.7, "b": 0.0}, method), alone)
        assert np.array_equal(drawn(family, {"a": 0.7, "c": 0.7}, method), alone)  # its own double beside it


def test_methods_differ_from_the_sum_and_leave_nothing_behind(family):
    stack = {"a": 1.0, "b": 1.0}
    pictures = {method: drawn(family, stack, method) for method in ("linear", "switch", "composite")}
    assert len({each.tobytes() for each in pictures.values()}) == 3
    assert np.array_equal(drawn(family, stack, "switch"), pictures["switch"])
    assert np.array_equal(drawn(family, stack), pictures["linear"])
    assert "forward" not in vars(family.denoiser)


@pytest.mark.parametrize("family", ["sd15", "flux", "qwen_image"], indirect=True)
def test_turns_last_as_long_as_they_are_told(family):
    stack = {"a": 1.0, "b": 1.0}
    assert np.array_equal(drawn(family, stack, "switch", switch_every=STEPS), sampled(family, {"a": 1.0}))
    first, half = (drawn(family, stack, "switch", switch_every=n) for n in (1, 2))
    assert not np.array_equal(first, half)
    other_way = drawn(family, dict(reversed(stack.items())), "switch", switch_every=STEPS)
    assert np.array_equal(other_way, sampled(family, {"b": 1.0}))


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 6))
def test_turns_are_those_of_the_paper(step: int, every: int, count: int):
    """Zhong et al., 2024: step t, counted from 1, has LoRA floor(((t - 1) mod k tau) / tau) + 1 of k."""
    assert turn_of(step - 1, every, count) + 1 == ((step - 1) % (count * every)) // every + 1


def by_hand(model, weights: dict[str, float], turns: list[list[str]]) -> np.ndarray:
    """Draw by the paper's formulas, step by step: `turns` says whose guidance is averaged at each step."""
    solver = DPMSolverMultistepScheduler.from_config(model.scheduler.config, use_karras_sigmas=True)
    solver.set_timesteps(STEPS)
    noise = [torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) for seed in BATCH.seeds]
    latents = torch.cat(noise) * solver.init_noise_sigma
    views = model.describe([View((64, 64), (0, 0), (64, 64))] * 2)
    with torch.no_grad():
        for time, names in zip(solver.timesteps, turns, strict=True):
            guidance = torch.zeros_like(latents)
            for name in names:
                set_lora_weights(model, {name: weights[name]})
                told = {**model.encode_prompts(BATCH.prompts), **views}
                against = {**model.encode_prompts([BATCH.negative_prompt] * 2), **views}
                seen = solver.scale_model_input(latents, time)
                away = model.predict(seen, time, against)
                guidance += (away + GUIDANCE * (model.predict(seen, time, told) - away)) / len(names)
            latents = solver.step(guidance, time, latents).prev_sample
        values = model.vae.decode(latents / model.vae.config.scaling_factor).sample
    return np.stack(to_levels(values))


@pytest.mark.parametrize("family", ["sd15", "sdxl"], indirect=True)
def test_the_paper_s_formulas(family):
    stack = {"a": 0.9, "b": 0.6}
    in_turn = by_hand(family, stack, [["a"], ["b"], ["a"]])
    together = by_hand(family, stack, [["a", "b"]] * STEPS)
    assert np.abs(in_turn.astype(int) - together).max() > 10
    assert np.abs(drawn(family, stack, "switch").astype(int) - in_turn).max() <= 2
    assert np.abs(drawn(family, stack, "composite").astype(int) - together).max() <= 2


@pytest.mark.parametrize("family", ["sd15", "qwen_image"], indirect=True)
@pytest.mark.parametrize("method", ["switch", "composite"])
def test_a_picture_of_a_batch_is_the_one_drawn_alone(family, method: str):
    variant = Variant(name="v", weights={"a": 1.0, "b": 1.0}, method=method)
    whole = sample_stacked(family, variant, BATCH, drawing(family))
    alone = sample_stacked(family, variant, Batch(["luca"], "", [2]), drawing(family))
    assert np.abs(whole[1].astype(int) - alone[0]).max() <= 2
    assert np.abs(whole[0].astype(int) - alone[0]).max() > 10


def halves(one: str = "luca", two: str = "gia") -> list[dict]:
    """Two regions beside one another, the LoRA a on the left and b on the right."""
    return [
        {"prompt": one, "loras": ["a"], "area": [0, 0, 0.5, 1]},
        {"prompt": two, "loras": ["b"], "area": [0.5, 0, 1, 1]},
    ]


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux", "qwen_image"], indirect=True)
def test_one_region_is_the_whole_picture_drawn_from_its_prompt(family):
    everywhere = [{"prompt": "luca", "loras": ["a"], "area": [0, 0, 1, 1]}]
    batch = Batch(["gia", "gia"], "", [1, 2])
    variant = Variant(name="v", weights={"a": 1.0, "b": 0.0}, method="regional", regions=everywhere)
    region = np.stack(sample_stacked(family, variant, batch, drawing(family)))
    alone = Variant(name="v", weights={"a": 1.0})
    plain = np.stack(sample_stacked(family, alone, Batch(["luca", "luca"], "", [1, 2]), drawing(family)))
    assert np.abs(region.astype(int) - plain).max() <= 1
    assert "forward" not in vars(family.denoiser)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux", "qwen_image"], indirect=True)
def test_each_region_has_the_loras_and_prompt_of_its_own(family):
    wide = replace(drawing(family), width=96)

    def regional(regions: list[dict], **weights: float) -> np.ndarray:
        variant = Variant(name="v", weights=weights, method="regional", regions=regions, feather=0.0)
        return np.stack(sample_stacked(family, variant, BATCH, wide)).astype(int)

    whole = regional(halves(), a=1.0, b=1.0)
    assert whole.shape == (2, 64, 96, 3)
    for other in (regional(halves(), a=0.0, b=1.0), regional(halves(one="running"), a=1.0, b=1.0)):
        change = np.abs(whole - other).mean(axis=(0, 1, 3))  # by column
        assert change[:40].mean() > 2 * change[-24:].mean()  # the right window reaches from 32 on
    swapped = [{**region, "loras": [name]} for region, name in zip(halves(), "ba", strict=True)]
    assert not np.array_equal(regional(swapped, a=1.0, b=1.0), whole)


@pytest.mark.parametrize("family", ["sd15", "sdxl"], indirect=True)
def test_regions_follow_the_mean_of_their_predictions(family):
    left, right = halves("luca", "running")
    rest = {"prompt": "gia", "area": None}
    right["area"] = [0.75, 0, 1, 1]
    variant = Variant(
        name="v", weights={"a": 0.9, "b": 0.6, "c": 0.5}, method="regional", regions=[left, right, rest], feather=0.1
    )
    grid = (8, 8)
    parts = parts_of([region.area for region in variant.regions], grid, 0.1)
    assert np.allclose(sum(part.weights for part in parts), 1)
    solver = DPMSolverMultistepScheduler.from_config(family.scheduler.config, use_karras_sigmas=True)
    solver.set_timesteps(STEPS)
    noise = [torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) for seed in BATCH.seeds]
    latents = torch.cat(noise) * solver.init_noise_sigma
    views = family.describe([View((64, 64), (0, 0), (64, 64))] * 2)
    with torch.no_grad():
        for time in solver.timesteps:
            guidance = torch.zeros_like(latents)
            seen = solver.scale_model_input(latents, time)
            for part, region, own in zip(parts, variant.regions, ({"a": 0.9}, {"b": 0.6}, {}), strict=True):
                set_lora_weights(family, {**own, "c": 0.5})
                told, away = (
                    family.predict(seen, time, {**family.encode_prompts([prompt] * 2), **views})
                    for prompt in (region.prompt, BATCH.negative_prompt)
                )
                guidance += torch.from_numpy(part.weights) * (away + GUIDANCE * (told - away))
            latents = solver.step(guidance, time, latents).prev_sample
        values = family.vae.decode(latents / family.vae.config.scaling_factor).sample
    drawn_so = np.stack(sample_stacked(family, variant, BATCH, drawing(family)))
    assert np.abs(drawn_so.astype(int) - np.stack(to_levels(values))).max() <= 2


@pytest.mark.parametrize("family", ["qwen_image_edit"], indirect=True)
def test_what_edits_pictures_has_no_regions(family):
    with pytest.raises(InputFault, match="edits pictures, which have no regions"):
        drawn(family, {"a": 1.0, "b": 1.0}, "regional", regions=halves())


@pytest.mark.parametrize(
    ("regions", "fault"),
    [
        ([], "has no region with an area"),
        ([{"prompt": ""}], "has no region with an area"),
        ([*halves(), {"prompt": ""}, {"prompt": ""}], "two regions without an area"),
        ([{**halves()[0], "loras": ["nino"]}], "has a region of 'nino', which has no weight"),
        ([{**region, "loras": ["a"]} for region in halves()], "has 'a' in two regions"),
        ([{**halves()[0], "area": [0, 0, 0.6, 1]}, halves()[1]], "regions that overlap, 0 and 1"),
        ([{**halves()[0], "area": [0.6, 0, 0.6, 1]}], "is no box"),
        ([{**halves()[0], "area": [0, 0, 2, 1]}], "less than or equal to 1"),
    ],
)
def test_regions_that_cannot_be_are_refused(regions: list[dict], fault: str):
    with pytest.raises(ValidationError, match=fault):
        Variant(name="v", weights={"a": 1.0, "b": 1.0}, method="regional", regions=regions)


def test_only_regional_variants_have_regions():
    with pytest.raises(ValidationError, match="has regions, which composite does not look at"):
        Variant(name="v", weights={"a": 1.0, "b": 1.0}, method="composite", regions=halves())


def scales(model, name: str) -> dict[str, float]:
    """Return how strongly a LoRA works in each layer of the denoiser; layers where it is off are left out."""
    layers = ((place, layer) for place, layer in model.denoiser.named_modules() if isinstance(layer, LoraLayer))
    on = {p: layer for p, layer in layers if not layer.disable_adapters and f"lora_{name}" in layer.active_adapters}
    return {place: layer.scaling[f"lora_{name}"] for place, layer in on.items()}


@pytest.mark.parametrize("family", ["sd15"], indirect=True)
def test_inner_and_outer_blocks_have_weights_of_their_own(family):
    set_lora_weights(family, {"a": 0.5, "b": 1.0}, {"a": {"inner": 2.0, "outer": 0.0}})
    inner = scales(family, "a")
    assert set(inner.values()) == {1.0}
    assert set(scales(family, "b").values()) == {1.0}
    assert set(inner) < set(scales(family, "b"))
    assert all(family.block_group(place) == "inner" for place in inner)
    assert any(place.startswith("mid_block") for place in inner)
    assert not any(place.startswith("down_blocks.0") for place in inner)
    whole = drawn(family, {"a": 1.0, "b": 0.5})
    assert np.array_equal(drawn(family, {"a": 1.0, "b": 0.5}, blocks={"a": {"inner": 1.0}}), whole)
    parts = [drawn(family, {"a": 1.0}, blocks={"a": {group: 0.0}}) for group in ("inner", "outer")]
    assert not np.array_equal(*parts)
    off = drawn(family, {"a": 1.0}, "switch", blocks={"a": {"outer": 0.0}})
    assert np.array_equal(off, parts[1])


@pytest.mark.parametrize("family", ["sd15"], indirect=True)
def test_inner_are_the_lower_resolutions_of_the_real_networks(family):
    kinds = {"down_block_types": ["DownBlock2D"] * 3, "up_block_types": ["UpBlock2D"] * 3}
    with torch.device("meta"):
        sd15 = replace(family, unet=UNet2DConditionModel())  # the defaults are SD 1.5's
        sdxl = replace(family, unet=UNet2DConditionModel(block_out_channels=(320, 640, 1280), **kinds))
    down, up = ("down_blocks.{}.resnets.0.conv1", "up_blocks.{}.resnets.0.conv1")
    assert [sd15.block_group(down.format(n)) for n in range(4)] == ["outer", "outer", "inner", "inner"]
    assert [sd15.block_group(up.format(n)) for n in range(4)] == ["inner", "inner", "outer", "outer"]
    assert [sdxl.block_group(up.format(n)) for n in range(3)] == ["inner", "outer", "outer"]
    assert (sdxl.block_group("mid_block.resnets.0.conv1"), sdxl.block_group("conv_in")) == ("inner", "outer")
    layers = [name for name, module in sd15.unet.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert {sd15.block_group(name) for name in layers} == {"inner", "outer"}


@pytest.mark.parametrize("family", ["flux", "qwen_image", "qwen_image_edit"], indirect=True)
def test_transformers_have_no_such_blocks(family):
    with pytest.raises(InputFault, match="is in no inner or outer block"):
        drawn(family, {"a": 1.0}, blocks={"a": {"inner": 0.5}})


def test_variants_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="switch needs a LoRA whose weight is not 0"):
        Variant(name="v", weights={"a": 0.0}, method="switch")
    with pytest.raises(ValidationError, match="weighs blocks of 'b', which has no weight"):
        Variant(name="v", weights={"a": 1.0}, blocks={"b": {"inner": 1.0}})
    with pytest.raises(ValidationError, match="'linear', 'switch', 'composite' or 'regional'"):
        Variant(name="v", weights={"a": 1.0}, method="sum")


def test_a_request_names_the_method_of_each_variant(tmp_path: Path):
    base = make_random_base(tmp_path / "base")
    shapes = ((2, 48), (48, 2))
    for name in "12":  # names that PEFT alone would take for numbers of blocks
        down, up = (torch.randn(shape, generator=torch.Generator().manual_seed(int(name))) for shape in shapes)
        modules = {"mid_block_attentions_0_transformer_blocks_0_attn1_to_v": LoraModule(down, up, 40.0)}
        save_kohya(tmp_path / f"{name}.safetensors", LoraWeights(modules, {}, {}))
    stack = {"1": 1.0, "2": 1.0}
    request = GenerateRequest.model_validate(
        {
            "base": base,
            "loras": [{"name": name, "path": tmp_path / f"{name}.safetensors"} for name in stack],
            "variants": [
                {"name": "first", "weights": {"1": 1.0}},
                {"name": "sum", "weights": stack},
                {"name": "turns", "weights": stack, "method": "switch"},
                {"name": "long turns", "weights": stack, "method": "switch", "switch_every": 9},
                {"name": "mean", "weights": stack, "method": "composite"},
            ],
            "prompts": ["luca"],
            "seeds": [1],
            "steps": 3,
            "size": 64,
            "output": tmp_path / "pictures",
            "threads": 1,
        }
    )
    (tmp_path / "request.json").write_text(request.model_dump_json())
    assert list(json.loads(request.model_dump_json())["variants"][1]["weights"]) == ["1", "2"]
    generate(tmp_path / "request.json")
    seen = {path.name.split("-")[0]: read_rgb(path).astype(int) for path in (tmp_path / "pictures").iterdir()}
    unlike = {name: float((picture != seen["first"]).mean()) for name, picture in seen.items()}
    assert np.abs(seen["long_turns"] - seen["first"]).max() <= 1  # beside the weights and folded into them: rounding
    assert unlike["long_turns"] < 0.001
    assert min(unlike[name] for name in ("sum", "turns", "mean")) > 0.05
