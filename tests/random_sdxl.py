"""A Stable Diffusion XL of random weights, small enough to train anywhere in seconds."""

# mypy: disable-error-code="no-untyped-call"

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from models.diffusion.vocabulary import cut_tokenizer, text_config

WORDS = ("luca", "running", "in", "a", "harbour", "view")
WIDTHS = (16, 24)
"""Of the two text encoders."""


def small_tokenizer() -> Any:
    """Return CLIP's tokenizer with few merges, so that text encoders are small."""
    return cut_tokenizer(WORDS, first=200)


def tiny_vae(channels: int = 4) -> AutoencoderKL:
    """Return an autoencoder of an eighth of the pixels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.13025,
    )


def make_random_sdxl(folder: Path, seed: int = 0) -> Path:
    """Write the base model to `folder` and return it."""
    tokenizer = small_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        one: Any = CLIPTextModel(text_config(tokenizer, WIDTHS[0], layers=2, heads=2))
        two: Any = CLIPTextModelWithProjection(text_config(tokenizer, WIDTHS[1], layers=2, heads=2))
        vae, unet = tiny_vae(), _unet()
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    pipeline: Any = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=one,
        text_encoder_2=two,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=sum(WIDTHS),
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTHS[1],
    )
