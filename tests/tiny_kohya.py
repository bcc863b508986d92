"""A checkout of sd-scripts whose U-Net is small, and a base model of random weights that fits it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.diffusion.vocabulary import text_config
from models.trainers.kohya_home import NEEDS
from models.weights import MissingWeights
from tests.random_base import make_random_base

LITE_BASE = Path(__file__).parents[1] / "models" / "diffusion" / "lite_base" / "weights"
WIDTHS = (32, 32, 64, 64)  # of the U-Net's levels; sd-scripts' own: 320, 640, 1280, 1280
TEXT_WIDTH = 32
_CONSTANT = "BLOCK_OUT_CHANNELS: Tuple[int] = (320, 640, 1280, 1280)"


def asked_of_sd_scripts(*arguments: object, folder: Path | None = None) -> Any:
    """Return what `sd_scripts_probe` finds out in sd-scripts' environment; skips the test where they are not here."""
    try:
        checkout, python = (need.path() for need in NEEDS)
    except MissingWeights as missing:
        pytest.skip(str(missing))
    command = [python, Path(__file__).with_name("sd_scripts_probe.py"), checkout, *arguments]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def small_checkout(checkout: Path, into: Path, widths: tuple[int, ...] = WIDTHS) -> Path:
    """Return a folder of links to a checkout's files, with a U-Net of these widths in place of its own."""
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
    module.write_text(source.replace(_CONSTANT, f"BLOCK_OUT_CHANNELS = {widths}"), encoding="utf-8")
    return into


def small_base(
    folder: Path,
    widths: tuple[int, ...] = WIDTHS,
    text: tuple[int, int, int] = (TEXT_WIDTH, 2, 4),
    vae: AutoencoderKL | None = None,
) -> Path:
    """Write a Stable Diffusion 1.x of random weights to `folder`; return it.

    text: width, layers and heads of its text encoder.
    """
    width, layers, heads = text
    tokenizer = CLIPTokenizer.from_pretrained(LITE_BASE / "tokenizer")
    pipeline: Any = StableDiffusionPipeline.from_pretrained(make_random_base(folder.with_name("parts")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder: Any = CLIPTextModel(text_config(tokenizer, width, layers=layers, heads=heads))
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=widths,
            cross_attention_dim=width,
            attention_head_dim=8,
        )
    pipeline.register_modules(tokenizer=tokenizer, text_encoder=text_encoder, unet=unet, vae=vae or pipeline.vae)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
