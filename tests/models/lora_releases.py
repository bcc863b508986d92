"""Releases of small LoRAs of every family, for the tests of what goes out."""

from pathlib import Path
from typing import Any

import torch

from data_contracts.records import Example, Facets
from data_contracts.results import LoraFile
from data_contracts.stack_stages import ComposeLorasConfig
from models.diffusion.key_formats import KEY_FORMATS
from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya
from models.exports.lora_release import Release, ReleasedLora

LAYERS = {
    "sd15": "mid_block_attentions_0_transformer_blocks_0_attn1_to_v",
    "sdxl": "mid_block_attentions_0_transformer_blocks_0_attn1_to_v",
    "flux": "transformer_blocks_0_attn_to_out_0",
    "qwen_image": "transformer_blocks_0_attn_to_v",
    "qwen_image_edit": "transformer_blocks_0_attn_to_v",
}
TYPES = {"luca": "character", "town": "background", "run": "pose"}
WEIGHTS = {"luca": 1.0, "town": 0.8, "run": 0.75}
SAMPLING = ComposeLorasConfig(negative_prompt="blurry (very)", seeds=(3,), steps=2, guidance=4.0, size=64)


def example(number: int, split: str, caption: str) -> Example:
    return Example(
        id=f"f:{number}", film="harbour", shot="harbour:s0001", frame=number, time_s=number / 6, source_id="f",
        box=(0, 0, 64, 64), facets=Facets(), image="a.png", mask=None, caption=caption, tokens=9, repeats=10,
        split=split, sharpness=1.0,
    )  # fmt: skip


def released(folder: Path, name: str, family: str, **changes: Any) -> ReleasedLora:
    generator = torch.Generator().manual_seed(len(name))
    down, up = (0.5 * torch.randn(shape, generator=generator) for shape in ((3, 48), (48, 3)))
    about = {"ss_sd_model_name": "my-base", "reel2lora.films": '["harbour"]', "reel2lora.settings": '{"rank": 3}'}
    if family in {"sd15", "sdxl"}:
        about["modelspec.prediction_type"] = "epsilon"
    text = {"encoder_layers_0_self_attn_out_proj": LoraModule(torch.ones(3, 64), 0.1 * torch.ones(64, 3), 3.0)}
    weights = LoraWeights({LAYERS[family]: LoraModule(down, up, 3.0)}, text if family == "sd15" else {}, about)
    path = folder / f"trained-{name}.safetensors"
    save_kohya(path, weights, KEY_FORMATS[family])
    lora = LoraFile(
        id=name, name=name, type=TYPES[name], subject=name, trigger=f"{name} (boy)", family=family, weights=path.name,
        loss_log="loss.jsonl", samples=(), sample_steps=(), steps=100, final_loss=0.1, dataset_digest="d" * 64,
        shots=("harbour:s0001", "harbour:s0004"),
    )  # fmt: skip
    learnt = [
        example(0, "train", "luca (boy), running"),
        example(1, "train", "luca (boy)"),
        example(2, "held_out", "x"),
    ]
    return ReleasedLora(**{"lora": lora, "file": path, "weight": WEIGHTS[name], "examples": learnt, **changes})


def release_of(folder: Path, family: str, names: tuple[str, ...] = tuple(TYPES), **changes: Any) -> Release:
    folder.mkdir(exist_ok=True)
    loras = tuple(released(folder, name, family) for name in names)
    return Release(**{"name": "film", "loras": loras, "prompt": "luca (boy) in town", "sampling": SAMPLING, **changes})
