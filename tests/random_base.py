"""A Stable Diffusion 1.x of random weights: the right shapes and files, small enough to train anywhere in seconds.

Everything around the base model can be tested on it; what its pictures show means nothing.
"""

# mypy: disable-error-code="no-untyped-call"

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from models.diffusion.vocabulary import clip_tokenizer, text_config

SIZE = 128
_TEXT_WIDTH = 64


def make_random_base(folder: Path, seed: int = 0, tokenizer: Any = None) -> Path:
    """Write the base model to `folder` and return it. The same seed gives the same bytes.

    tokenizer: a smaller one, which is read in less time; None: CLIP's.
    """
    pipeline: Any = _build(seed, tokenizer or clip_tokenizer())
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _build(seed: int, tokenizer: Any) -> StableDiffusionPipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder: Any = CLIPTextModel(text_config(tokenizer, _TEXT_WIDTH, layers=2, heads=4))
        vae = _vae()
        unet = _unet()
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=0.18215,
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 48),
        layers_per_block=1,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def _scheduler() -> PNDMScheduler:
    return PNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )
