"""A Stable Diffusion 1.x of random weights: the right shapes and files, small enough to train anywhere in seconds.

Everything around the base model can be built, run and tested on it; what its pictures show means nothing.
"""

# mypy: disable-error-code="no-untyped-call"

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from data_contracts.faults import InputFault
from models.diffusion.base_marker import MARKER, is_random, read_marker
from models.weights import packaged_file

SIZE = 128
_MERGES = slice(1, 48895)  # the rest of the file was never part of CLIP's vocabulary
_START, _END = "<|startoftext|>", "<|endoftext|>"
_TEXT_WIDTH = 64
_README = """# A base model that has learnt nothing

A Stable Diffusion 1.x pipeline of random weights (seed {seed}), made by reel2lora for {size}x{size} pictures. It has
the classes, key names and files of the real one, so that training, LoRA files and generation can be run and tested on
any machine. What its pictures show means nothing. Set `base` to a real model's folder before judging pictures.

The vocabulary is that of CLIP (OpenAI, MIT licence), out of the package open-clip-torch.
"""


def make_random_base(folder: Path, seed: int = 0) -> Path:
    """Write the base model to `folder`, whole or not at all, and return `folder`. The same seed gives the same bytes.

    Raises:
        InputFault: `folder` exists and is not such a base model.
    """
    if folder.exists():
        if is_random(folder) and read_marker(folder).get("seed") == seed:
            return folder
        message = f"{folder} exists and is not the random base model of seed {seed}: remove it, or name another folder"
        raise InputFault(message)
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline: Any = _build(seed)
    pipeline.save_pretrained(beside, safe_serialization=True)
    (beside / MARKER).write_text(json.dumps({"random": True, "seed": seed, "size": SIZE}) + "\n", encoding="utf-8")
    (beside / "README.md").write_text(_README.format(seed=seed, size=SIZE), encoding="utf-8")
    beside.replace(folder)
    return folder


def _build(seed: int) -> StableDiffusionPipeline:
    tokenizer = clip_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = _text_encoder(tokenizer)
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


def clip_tokenizer() -> CLIPTokenizer:
    """Return CLIP's tokenizer of 49,408 entries, 77 tokens a prompt. Radford et al., 2021."""
    packed = packaged_file("open-clip-torch", "open_clip/bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[_MERGES]]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=merges,  # type: ignore[arg-type]  # pairs, as the class itself saves them
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        model_max_length=77,
    )


def _byte_letters() -> list[str]:
    """Return the printable stand-ins of the 256 bytes, in the order of GPT-2's byte-level vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + offset) for offset in range(256 - len(printable))]


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=_TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


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
