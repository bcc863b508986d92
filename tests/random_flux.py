"""A FLUX.1-dev of random weights, small enough to train anywhere in seconds."""

# mypy: disable-error-code="no-untyped-call"

from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

from models.diffusion.vocabulary import text_config
from tests.random_sdxl import small_tokenizer, tiny_vae

TOKENS = 24
WIDTHS = (16, 24)
"""Of CLIP and of T5."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make_random_flux(folder: Path, seed: int = 0, single_blocks: int = 1) -> Path:
    """Write the base model to `folder` and return it."""
    tokenizer, letters = small_tokenizer(), _letter_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip: Any = CLIPTextModel(text_config(tokenizer, WIDTHS[0], layers=1, heads=2))
        t5: Any = T5EncoderModel(
            T5Config(vocab_size=len(letters), d_model=WIDTHS[1], d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        )
        vae = tiny_vae(channels=16)
        transformer = FluxTransformer2DModel(
            in_channels=64,
            num_layers=2,
            num_single_layers=single_blocks,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTHS[1],
            pooled_projection_dim=WIDTHS[0],
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        )
    vae.register_to_config(scaling_factor=0.3611, shift_factor=0.1159)
    pipeline: Any = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=clip,
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=letters,
        transformer=transformer,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _letter_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=TOKENS)
