"""Stable Diffusion 1.x out of a diffusers folder: pictures to latents, prompts to embeddings, prompts to pictures."""

# mypy: disable-error-code="no-untyped-call"

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers.utils.logging
import numpy as np
import torch
import transformers.utils.logging
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from data_contracts.faults import InputFault

Precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ENCODE_BATCH = 4


@dataclass(frozen=True)
class StableDiffusion:
    """The networks of one base model, frozen, on one device."""

    # Any: the members of these classes are declared in no way that a type checker reads.
    tokenizer: Any  # CLIPTokenizer
    text_encoder: Any  # CLIPTextModel
    vae: Any  # AutoencoderKL
    unet: Any  # UNet2DConditionModel
    scheduler: Any  # DDPMScheduler
    device: torch.device


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, all but what they show."""

    steps: int
    guidance: float
    size: int


def load(folder: Path, precision: str = "float32", device: str | None = None) -> StableDiffusion:
    """Return the base model in the diffusers folder `folder`, read from safetensors only.

    Raises:
        InputFault: the folder holds no Stable Diffusion 1.x pipeline.
    """
    _require_pipeline(folder)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    dtype = Precision[precision]
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, **options)
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **options)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **options)
    for network in (text_encoder, vae, unet):
        network.requires_grad_(requires_grad=False).eval().to(where)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    return StableDiffusion(tokenizer, text_encoder, vae, unet, scheduler, where)


def encode_images(model: StableDiffusion, images: torch.Tensor) -> torch.Tensor:
    """Return the scaled latents (N, 4, H/8, W/8) float32, on the CPU, of `images` (N, 3, H, W) float32 in -1..1.

    The mean of the encoder's distribution: its spread is a small fraction of that of the latents, and the same
    picture always gives the same latents.
    """
    return encode(model.vae, images.split(ENCODE_BATCH)) * float(model.vae.config.scaling_factor)


def encode(vae: Any, batches: Iterable[torch.Tensor]) -> torch.Tensor:  # noqa: ANN401  AutoencoderKL declares no members
    """Return the unscaled latents (N, 4, H/8, W/8), on the CPU, of batches (n, 3, H, W) of pictures in -1..1."""
    with torch.no_grad():
        return torch.cat([vae.encode(batch.to(vae.device)).latent_dist.mode().cpu() for batch in batches])


def encode_prompts(model: StableDiffusion, prompts: Sequence[str]) -> torch.Tensor:
    """Return the text encoder's last hidden states (N, 77, dim); gradients flow where adapters are trained.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads: its end would be lost.
    """
    length = model.tokenizer.model_max_length
    tokens = [model.tokenizer(prompt, truncation=False).input_ids for prompt in prompts]
    for prompt, ids in zip(prompts, tokens, strict=True):
        if len(ids) > length:
            message = f"prompt {prompt!r} has {len(ids)} tokens, ends included; {length} are read: shorten it"
            raise InputFault(message)
    padded = [ids + [model.tokenizer.pad_token_id] * (length - len(ids)) for ids in tokens]
    states: torch.Tensor = model.text_encoder(torch.tensor(padded, device=model.device))[0]
    return states


def sample(
    model: StableDiffusion, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
) -> list[NDArray[np.uint8]]:
    """Return a picture (size, size, 3) RGB uint8 for each prompt and its seed, by DPM-Solver++(2M) on Karras' sigmas.

    The noise of each picture comes from its own generator on the CPU, so it depends neither on its neighbours in the
    batch nor on the device. Lu et al., DPM-Solver++, 2022; Karras et al., 2022.
    """
    with torch.no_grad():
        positive = encode_prompts(model, prompts)
        negative = encode_prompts(model, [negative_prompt]).expand_as(positive)
        latents = _pipeline(model)(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            num_inference_steps=drawing.steps,
            guidance_scale=drawing.guidance,
            height=drawing.size,
            width=drawing.size,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="latent",
        ).images
        values = model.vae.decode(latents.float() / model.vae.config.scaling_factor).sample  # (N, 3, H, W) in -1..1
    levels: NDArray[np.uint8] = values.add(1).mul(127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(levels)


def _pipeline(model: StableDiffusion) -> Callable[..., Any]:
    solver = DPMSolverMultistepScheduler.from_config(model.scheduler.config, use_karras_sigmas=True)
    pipeline: Any = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=solver,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return cast("Callable[..., Any]", pipeline)


def _require_pipeline(folder: Path) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        message = f"base model {folder} has no model_index.json: give the folder of a diffusers pipeline"
        raise InputFault(message)
    kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    if kind != "StableDiffusionPipeline":
        message = f"base model {folder} is a {kind}; the trainer knows StableDiffusionPipeline (Stable Diffusion 1.x)"
        raise InputFault(message)
