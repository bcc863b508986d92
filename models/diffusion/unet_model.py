"""What Stable Diffusion 1.x and XL have in common: a U-Net, CLIP, and a VAE of scaled latents."""

# mypy: disable-error-code="no-untyped-call"

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from numpy.typing import NDArray

from data_contracts.generation import BlockGroup
from data_contracts.training import TrainSettings
from models.diffusion.drawing import Drawing, pipeline_arguments
from models.diffusion.families import Call, Conditioning, View, to_levels
from models.diffusion.lora_file import AdapterSize
from models.diffusion.objective import Objective
from models.diffusion.regions import Grid, Window
from models.diffusion.unet_layers import unet_layers

ENCODE_BATCH = 4
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.")


class UNetModel(ABC):
    """Half of a `DiffusionModel`, for those that have a U-Net."""

    embeds: ClassVar[Mapping[str, str]]
    """The pipeline's arguments for what `encode_prompts` returns, and its names there."""

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

    def set_aside_text_encoders(self) -> None:  # noqa: B027  right for all of them
        """Leave CLIP where it is: it is small."""

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return a picture (size, width, 3) RGB uint8 for each prompt and its seed.

        By DPM-Solver++(2M) on Karras' sigmas. Lu et al., DPM-Solver++, 2022; Karras et al., 2022.
        """
        with torch.no_grad():
            towards, away = self.encode_against(prompts, negative_prompt)
            latents = self.pipeline()(
                **{argument: towards[name] for argument, name in self.embeds.items()},
                **{f"negative_{argument}": away[name] for argument, name in self.embeds.items()},
                guidance_scale=drawing.guidance,
                **pipeline_arguments(seeds, drawing),
            ).images
            values = self.vae.decode(latents.float() / self.vae.config.scaling_factor).sample
        return to_levels(values)  # of (N, 3, H, W) in -1..1

    def seen_through(self, call: Call, grid: Grid, window: Window) -> Call:  # noqa: ARG002  its latents have their shape
        """Return a call of the U-Net that sees only a window of the latents."""
        return {**call, "sample": call["sample"][:, :, *window]}

    def pipeline(self) -> Any:  # noqa: ANN401
        """Return diffusers' pipeline of these networks, with the solver that `sample` names."""
        solver = DPMSolverMultistepScheduler.from_config(self.scheduler.config, use_karras_sigmas=True)
        pipeline = self.assembled(solver)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def encode_against(self, prompts: Sequence[str], negative_prompt: str) -> tuple[Conditioning, Conditioning]:
        """Return what the U-Net is told of the prompts, and of the negative one as often."""
        towards, away = self.encode_prompts(prompts), self.encode_prompts([negative_prompt])
        name = self.embeds["prompt_embeds"]
        if towards[name].shape[1] != away[name].shape[1]:
            towards, away = self._level((towards, away), self.encode_prompts([""]))
        return towards, {name: value.expand_as(towards[name]) for name, value in away.items()}

    def stacked(self, told: Sequence[Conditioning], empty: Conditioning) -> Conditioning:
        """Return what several prompts say as one batch, those of fewer parts filled up with the empty prompt's."""
        level = self._level(told, empty)
        return {name: torch.cat([each[name] for each in level]) for name in told[0]}

    def _level(self, told: Sequence[Conditioning], empty: Conditioning) -> list[Conditioning]:
        """Return what prompts say with states of the empty one (1, 77, dim) behind, all as long as the longest."""
        name = self.embeds["prompt_embeds"]
        longest, filler = max(each[name].shape[1] for each in told), empty[name]
        level: list[Conditioning] = []
        for each in told:
            states = each[name]
            missing = (longest - states.shape[1]) // filler.shape[1]
            filled = torch.cat([states, filler.repeat(len(states), missing, 1)], dim=1) if missing else states
            level.append({**each, name: filled})
        return level

    def encode_guided(self, prompts: Sequence[str], negative_prompt: str, guidance: float) -> Conditioning:
        """Return what diffusers' pipelines tell the U-Net: with guidance, the negative prompts before the others."""
        towards, away = self.encode_against(prompts, negative_prompt)
        if guidance <= 1 or self.unet.config.time_cond_proj_dim is not None:
            return towards
        return {name: torch.cat([away[name], value]) for name, value in towards.items()}

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:
        """Return what the text encoders say of the prompts."""

    @abstractmethod
    def assembled(self, scheduler: DPMSolverMultistepScheduler) -> Any:  # noqa: ANN401
        """Return diffusers' pipeline of these networks and a scheduler to draw with."""


def encode(vae: Any, batches: Iterable[torch.Tensor]) -> torch.Tensor:  # noqa: ANN401  AutoencoderKL declares no members
    """Return the unscaled latents (N, 4, H/8, W/8), on the CPU, of batches (n, 3, H, W) of pictures in -1..1."""
    with torch.no_grad():
        return torch.cat([vae.encode(batch.to(vae.device)).latent_dist.mode().cpu() for batch in batches])
