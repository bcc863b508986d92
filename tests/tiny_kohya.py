"""A checkout of sd-scripts whose U-Net is small, and a base model of random weights that fits it."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.diffusion.vocabulary import text_config
from tests.random_base import make_random_base

LITE_BASE = Path(__file__).parents[1] / "models" / "diffusion" / "lite_base" / "weights"
WIDTHS = (32, 32, 64, 64)  # of the U-Net's levels; sd-scripts' own: 320, 640, 1280, 1280
TEXT_WIDTH = 32
_CONSTANT = "BLOCK_OUT_CHANNELS: Tuple[int] = (320, 640, 1280, 1280)"


def small_checkout(checkout: Path, into: Path) -> Path:
    """Return a folder of links to a checkout's files, with a U-Net of `WIDTHS` in place of its own."""
    for folder in ("library", "networks"):
        (into / folder).mkdir(parents=True)
        for file in (checkout / folder).rglob("*.py"):
            target = into / file.relative_to(checkout)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    (into / "train_network.py").symlink_to(checkout / "train_network.py")
    module = into / "library" / "original_unet.py"
    source = module.read_text(encoding="utf-8")
    assert _CONSTANT in source
    module.unlink()
    module.write_text(source.replace(_CONSTANT, f"BLOCK_OUT_CHANNELS = {WIDTHS}"), encoding="utf-8")
    return into


def small_base(folder: Path) -> Path:
    """Write a Stable Diffusion 1.x of `WIDTHS` and random weights to `folder`; return it."""
    tokenizer = CLIPTokenizer.from_pretrained(LITE_BASE / "tokenizer")
    pipeline: Any = StableDiffusionPipeline.from_pretrained(make_random_base(folder.with_name("parts")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder: Any = CLIPTextModel(text_config(tokenizer, TEXT_WIDTH, layers=2, heads=4))
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=WIDTHS,
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=8,
        )
    pipeline.register_modules(tokenizer=tokenizer, text_encoder=text_encoder, unet=unet)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
