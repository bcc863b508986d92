"""Stable Diffusion 1.x out of a diffusers folder or a checkpoint.

Pictures to latents, prompts to embeddings, prompts to pictures.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
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
from data_contracts.training import TrainSettings
from models.diffusion import family_of
from models.diffusion.clip_text import clip_tokens
from models.diffusion.families import Conditioning, Drawing, Precision, View, own_generators, quiet, to_levels
from models.diffusion.lora_file import SD1_KEYS, AdapterSize, KeyFormat
from models.diffusion.objective import Objective
from models.diffusion.single_file import read_checkpoint
from models.diffusion.unet_layers import unet_layers

__all__ = ["ENCODE_BATCH", "Drawing", "StableDiffusion", "encode", "encode_images", "encode_prompts", "load", "sample"]
ENCODE_BATCH = 4
STATES = "states"


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
    keys: KeyFormat = SD1_KEYS
    multiple: int = 8
    edits: bool = False

    @property
    def denoiser(self) -> Any:  # noqa: ANN401
        """The U-Net."""
        return self.unet

    @property
    def text_encoders(self) -> dict[str, Any]:
        """CLIP's text encoder, which LoRAs may change."""
        return {"text_encoder": self.text_encoder}

    def layers(self, size: AdapterSize) -> str:
        """Return the pattern of the U-Net's layers that an adapter of this size changes."""
        return unet_layers(size)

    def objective(self, settings: TrainSettings) -> Objective:
        """Return the noise or velocity to be predicted, weighed by min-SNR."""
        return Objective(self.scheduler, settings.min_snr_gamma)

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scaled latents (N, 4, H/8, W/8) float32, on the CPU, of `images` (N, 3, H, W) in -1..1."""
        return encode_images(self, images)

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return the text encoder's last hidden states (N, 77, dim)."""
        return {STATES: encode_prompts(self, prompts)}

    def set_aside_text_encoders(self) -> None:
        """Leave CLIP where it is: it is small."""

    def describe(self, views: Sequence[View]) -> Conditioning:  # noqa: ARG002  part of what all families do
        """Return nothing: the U-Net is told of its prompts alone."""
        return {}

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return the noise or velocity (N, 4, h, w) that the U-Net sees in `noisy` latents at timesteps (N,)."""
        states = told[STATES]
        prediction: torch.Tensor = self.unet(noisy.to(states.dtype), timesteps, states).sample
        return prediction

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return a picture (size, size, 3) RGB uint8 for each prompt and its seed."""
        return sample(self, prompts, negative_prompt, seeds, drawing)


def load(
    base: Path, precision: str = "float32", device: str | None = None, configurations: Path | None = None
) -> StableDiffusion:
    """Return the base model in a diffusers folder or a single checkpoint, read from safetensors only.

    configurations: a checkpoint's, see `read_checkpoint`.

    Raises:
        InputFault: `base` holds no Stable Diffusion 1.x.
        MissingWeights: it is a checkpoint, and its configuration files are not in the hub's cache.
    """
    _require_pipeline(base)
    quiet()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = Precision[precision]
    if base.is_file():
        whole = read_checkpoint(StableDiffusionPipeline, base, "sd15", configurations)
        text_encoder, vae, unet = whole.text_encoder.to(dtype), whole.vae, whole.unet.to(dtype)
        tokenizer, scheduler = whole.tokenizer, DDPMScheduler.from_config(whole.scheduler.config)
    else:
        options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
        text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=dtype, **options)
        vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32, **options)
        unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=dtype, **options)
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(base / "scheduler", local_files_only=True)
    for network in (text_encoder, vae, unet):
        network.requires_grad_(requires_grad=False).eval().to(where)
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
    states: torch.Tensor = model.text_encoder(clip_tokens(model.tokenizer, prompts, model.device))[0]
    return states


def sample(
    model: StableDiffusion, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
) -> list[NDArray[np.uint8]]:
    """Return a picture (size, size, 3) RGB uint8 for each prompt and its seed, by DPM-Solver++(2M) on Karras' sigmas.

    Lu et al., DPM-Solver++, 2022; Karras et al., 2022.
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
            generator=own_generators(seeds),
            output_type="latent",
        ).images
        values = model.vae.decode(latents.float() / model.vae.config.scaling_factor).sample  # (N, 3, H, W) in -1..1
    return to_levels(values)


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


def _require_pipeline(base: Path) -> None:
    if (family := family_of(base)) != "sd15":
        message = f"base model {base} is of the family {family}, not a StableDiffusionPipeline"
        raise InputFault(message)
