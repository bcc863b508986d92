"""What Stable Diffusion 1.x and XL have in common: a U-Net, CLIP, and a VAE of scaled latents."""

# mypy: disable-error-code="no-untyped-call"

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from data_contracts.generation import BlockGroup
from data_contracts.training import TrainSettings
from models.diffusion.families import Conditioning, DiffusionModel
from models.diffusion.lora_file import AdapterSize
from models.diffusion.objective import Objective
from models.diffusion.unet_layers import unet_layers

ENCODE_BATCH = 4
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.")


class UNetModel:
    """Half of a `DiffusionModel`, for those that have a U-Net."""

    # Any: the members of these classes are declared in no way that a type checker reads.
    vae: Any  # AutoencoderKL
    unet: Any  # UNet2DConditionModel
    scheduler: Any  # DDPMScheduler

    @property
    def denoiser(self) -> Any:  # noqa: ANN401
        """The U-Net."""
        return self.unet

    def layers(self, size: AdapterSize) -> str:
        """Return the pattern of the U-Net's layers that an adapter of this size changes."""
        return unet_layers(size)

    def block_group(self, layer: str) -> BlockGroup:
        """Return `inner` for the lower half of the resolutions: SD 1.x's last two of four, SDXL's last of three.

        Inner layers lay out shapes, outer ones give colour and material: so what a prompt says to each of them shows.
        Voynov et al., P+: Extended Textual Conditioning in Text-to-Image Generation, 2023.
        """
        if layer.startswith("mid_block."):
            return "inner"
        found = _BLOCK.match(layer)
        if found is None:
            return "outer"
        levels = len(self.unet.config.block_out_channels)
        level = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        return "inner" if 2 * level >= levels else "outer"

    def objective(self, settings: TrainSettings) -> Objective:
        """Return the noise or velocity to be predicted, weighed by min-SNR."""
        return Objective(self.scheduler, settings.min_snr_gamma)

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scaled latents (N, 4, H/8, W/8) float32, on the CPU, of `images` (N, 3, H, W) in -1..1.

        The mean of the encoder's distribution: its spread is a small fraction of that of the latents, and the same
        picture always gives the same latents.
        """
        return encode(self.vae, images.split(ENCODE_BATCH)) * float(self.vae.config.scaling_factor)

    def set_aside_text_encoders(self) -> None:
        """Leave CLIP where it is: it is small."""


def encode_against(
    model: DiffusionModel, prompts: Sequence[str], negative_prompt: str
) -> tuple[Conditioning, Conditioning]:
    """Return what the model's U-Net is told of the prompts, and of the negative one as often."""
    towards, away = model.encode_prompts(prompts), model.encode_prompts([negative_prompt])
    return towards, {name: value.expand_as(towards[name]) for name, value in away.items()}


def encode_guided(model: DiffusionModel, prompts: Sequence[str], negative_prompt: str, guidance: float) -> Conditioning:
    """Return what diffusers' pipelines tell the U-Net: with guidance, the negative prompts before the others."""
    towards, away = encode_against(model, prompts, negative_prompt)
    if guidance <= 1 or model.denoiser.config.time_cond_proj_dim is not None:
        return towards
    return {name: torch.cat([away[name], value]) for name, value in towards.items()}


def encode(vae: Any, batches: Iterable[torch.Tensor]) -> torch.Tensor:  # noqa: ANN401  AutoencoderKL declares no members
    """Return the unscaled latents (N, 4, H/8, W/8), on the CPU, of batches (n, 3, H, W) of pictures in -1..1."""
    with torch.no_grad():
        return torch.cat([vae.encode(batch.to(vae.device)).latent_dist.mode().cpu() for batch in batches])
