"""Stable Diffusion 1.x out of a diffusers folder or a checkpoint.

Pictures to latents, prompts to embeddings, prompts to pictures.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from models.diffusion import family_of
from models.diffusion.clip_text import clip_tokens
from models.diffusion.families import (
    FROM_DISK,
    Call,
    Conditioning,
    Drawing,
    Precision,
    View,
    freeze,
    own_generators,
    quiet,
    to_levels,
)
from models.diffusion.lora_file import SD1_KEYS, KeyFormat
from models.diffusion.single_file import read_checkpoint
from models.diffusion.unet_model import UNetModel, encode_against, encode_guided

STATES = "states"


@dataclass(frozen=True)
class StableDiffusion(UNetModel):
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
    def text_encoders(self) -> dict[str, Any]:
        """CLIP's text encoder, which LoRAs may change."""
        return {"text_encoder": self.text_encoder}

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return the text encoder's last hidden states (N, 77, dim); gradients flow where adapters are trained.

        Raises:
            InputFault: a prompt has more tokens than the text encoder reads: its end would be lost.
        """
        return {STATES: self.text_encoder(clip_tokens(self.tokenizer, prompts, self.device))[0]}

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
        """Return a picture (size, size, 3) RGB uint8 for each prompt and its seed.

        By DPM-Solver++(2M) on Karras' sigmas. Lu et al., DPM-Solver++, 2022; Karras et al., 2022.
        """
        with torch.no_grad():
            towards, away = encode_against(self, prompts, negative_prompt)
            latents = self._pipeline()(
                prompt_embeds=towards[STATES],
                negative_prompt_embeds=away[STATES],
                num_inference_steps=drawing.steps,
                guidance_scale=drawing.guidance,
                height=drawing.size,
                width=drawing.size,
                generator=own_generators(seeds),
                output_type="latent",
            ).images
            values = self.vae.decode(latents.float() / self.vae.config.scaling_factor).sample
        return to_levels(values)  # of (N, 3, H, W) in -1..1

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:
        """Return what puts these prompts, read now, into a call of the U-Net that `sample` makes for the same ones."""
        told = encode_guided(self, prompts, negative_prompt, drawing.guidance)
        return lambda call: {**call, "encoder_hidden_states": told[STATES]}

    def _pipeline(self) -> Any:  # noqa: ANN401
        solver = DPMSolverMultistepScheduler.from_config(self.scheduler.config, use_karras_sigmas=True)
        pipeline: Any = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=solver,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


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
    dtype = Precision[precision]
    if base.is_file():
        whole = read_checkpoint(StableDiffusionPipeline, base, "sd15", configurations)
        text_encoder, vae, unet = whole.text_encoder.to(dtype), whole.vae, whole.unet.to(dtype)
        tokenizer, scheduler = whole.tokenizer, DDPMScheduler.from_config(whole.scheduler.config)
    else:
        text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=dtype, **FROM_DISK)
        vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32, **FROM_DISK)
        unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=dtype, **FROM_DISK)
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(base / "scheduler", local_files_only=True)
    where = freeze((text_encoder, vae, unet), device)
    return StableDiffusion(tokenizer, text_encoder, vae, unet, scheduler, where)


def _require_pipeline(base: Path) -> None:
    if (family := family_of(base)) != "sd15":
        message = f"base model {base} is of the family {family}, not a StableDiffusionPipeline"
        raise InputFault(message)
