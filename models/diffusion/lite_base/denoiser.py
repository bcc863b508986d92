"""The denoiser of the `lite` base model, U-Net and text encoder trained together from captioned latents."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.diffusion.lite_base.autoencoder import LATENT_CHANNELS
from models.diffusion.lite_base.loop import Schedule, autocast
from models.diffusion.objective import Objective
from models.diffusion.vocabulary import cut_tokenizer
from models.seeds import seeded_generator
from models.stills import SIZE, Still, Stills, unit_range

TEXT_WIDTH = 160
COMMON_MERGES = 4000
MIN_SNR_GAMMA = 5.0
UNCONDITIONAL = 0.1
"""Share of the captions that are dropped, for classifier-free guidance. Ho and Salimans, 2022."""
SHORTENED = 0.2
"""Share of the captions that lose some of their phrases, so that short prompts are understood as well."""
SCHEDULE = Schedule(steps=24000, batch=16, learning_rate=8e-4, seed=2)


class Denoiser(nn.Module):
    """The two networks that learn together, with fresh weights."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder: Any = CLIPTextModel(_text_config(tokenizer))
        self.unet: Any = _build_unet()

    def save(self, folder: Path) -> None:
        """Write both networks into `folder`."""
        self.text_encoder.save_pretrained(folder / "text_encoder")
        self.unet.save_pretrained(folder / "unet")

    def load(self, folder: Path) -> None:
        """Take both networks from `folder`."""
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet")


@dataclass(frozen=True)
class Lesson:
    """What the denoiser learns from: scaled latents `(N, 2, C, h, w)`, the second mirrored, and their captions."""

    latents: torch.Tensor
    captions: Sequence[str]


class DenoiserLoss:
    """How wrong the denoiser is about a batch of noisy latents."""

    def __init__(
        self, denoiser: Denoiser, tokenizer: CLIPTokenizer, lesson: Lesson, schedule: Schedule, device: torch.device
    ) -> None:
        self.denoiser, self.tokenizer, self.schedule, self.device = denoiser, tokenizer, schedule, device
        self.lesson = lesson
        self.noises = DDPMScheduler.from_config(noise_schedule())
        self.objective = Objective(self.noises, MIN_SNR_GAMMA)
        self.tokens: dict[str, torch.Tensor] = {}

    def __call__(self, step: int) -> torch.Tensor:
        """Return the mean loss of the batch of `step`."""
        size = self.schedule.batch
        generator = seeded_generator(self.schedule.seed, "denoiser", step)
        chosen = torch.randint(len(self.lesson.latents), (size,), generator=generator)
        latents = self.lesson.latents[chosen]
        mirrored = torch.randint(latents.shape[1], (size,), generator=generator)
        clean = latents[torch.arange(size), mirrored].to(self.device)
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        timesteps = self._timesteps(generator).to(self.device)
        captions = [vary_caption(self.lesson.captions[index], generator) for index in chosen.tolist()]
        noisy = self.noises.add_noise(clean, noise, timesteps)
        with autocast(self.device):
            states = self.denoiser.text_encoder(self._tokens(captions))[0]
            prediction = self.denoiser.unet(noisy, timesteps, states).sample
        target = self.objective.target(clean, noise, timesteps)
        return self.objective.losses(prediction, target, timesteps).mean()

    def _timesteps(self, generator: torch.Generator) -> torch.Tensor:
        """Return a timestep (N,) out of each of N equal parts of the schedule: a batch misses no noise level."""
        size = self.schedule.batch
        places = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
        steps: int = self.noises.config.num_train_timesteps
        return (places * steps).long().clamp(max=steps - 1)

    def _tokens(self, captions: list[str]) -> torch.Tensor:
        for caption in captions:
            if caption not in self.tokens:
                encoded = self.tokenizer(caption, padding="max_length", truncation=True, return_tensors="pt")
                self.tokens[caption] = encoded.input_ids[0]
        return torch.stack([self.tokens[caption] for caption in captions]).to(self.device)


def vary_caption(caption: str, generator: torch.Generator) -> str:
    """Return the caption whole, without some of its phrases, or empty."""
    fate = float(torch.rand((), generator=generator))
    if fate < UNCONDITIONAL:
        return ""
    if fate > UNCONDITIONAL + SHORTENED:
        return caption
    phrases = caption.split(", ")
    kept = torch.rand(len(phrases), generator=generator) < 0.7  # noqa: PLR2004  most of them
    return ", ".join(phrase for phrase, keep in zip(phrases, kept.tolist(), strict=True) if keep)


def mirrored_latents(vae: Any, stills: Stills, device: torch.device) -> torch.Tensor:  # noqa: ANN401  AutoencoderKL declares no members
    """Return the scaled latents (N, 2, C, h, w) of the stills and of their mirror images, on the CPU."""
    sides = []
    with torch.no_grad():
        for part in stills.pictures.split(16):
            pictures = unit_range(part).to(device)
            sides.append(
                torch.stack([vae.encode(side).latent_dist.mode() for side in (pictures, pictures.flip(-1))], dim=1)
            )
    scaled: torch.Tensor = torch.cat(sides).cpu() * vae.config.scaling_factor
    return scaled


def build_tokenizer(stills: Sequence[Still]) -> CLIPTokenizer:
    """Return CLIP's tokenizer, cut down to its common merges and the words of the captions."""
    words = {word for still in stills for word in still.caption.replace("-", " ").replace(",", " ").split()}
    return cut_tokenizer(sorted(word for word in words if word.isalpha()), COMMON_MERGES)


def noise_schedule() -> dict[str, Any]:
    """Return the configuration of Stable Diffusion's noise schedule, with the velocity to be predicted."""
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "steps_offset": 1,
    }


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=5,
        max_position_embeddings=77,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(96, 192, 192),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
