"""The denoiser of the `lite` base model: a U-Net that learns from captioned latents what the text encoder reads."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from data_contracts.faults import InputFault
from models.diffusion.lite_base.autoencoder import LATENT_CHANNELS
from models.diffusion.lite_base.loop import Schedule, autocast
from models.diffusion.lite_base.vary import vary_caption
from models.diffusion.objective import Objective
from models.diffusion.vocabulary import cut_tokenizer, text_config
from models.seeds import seeded_generator
from models.stills import SIZE, Still, Stills, heads_of, unit_range

TEXT_WIDTH = 160
WIDTH = 96
TOLD = 4 * WIDTH
"""Numbers that the U-Net's residual blocks are told: of the timestep and of the caption."""
COMMON_MERGES = 4000
LATENT_PIXELS = 8
TELLER = "add_embedding.safetensors"
FIGURE_WEIGHT, HEAD_WEIGHT, FACE_WEIGHT = 6.0, 12.0, 40.0
"""How much an error counts in the square around somebody, in his head, and from his brows to his mouth; elsewhere 1.

A face in a full shot is 3% of the picture: counted alike, places are learnt long before clothes and faces.
"""
SCHEDULE = Schedule(steps=24000, batch=16, learning_rate=4e-4, seed=2)


class Denoiser(nn.Module):
    """The U-Net and the text encoder that it listens to, with fresh weights."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder: Any = CLIPTextModel(text_config(tokenizer, TEXT_WIDTH, layers=4, heads=5))
        self.unet: Any = _build_unet()

    def load(self, folder: Path) -> None:
        """Take both networks from `folder`."""
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet")

    def save_reading(self, folder: Path) -> None:
        """Write what has learnt to read captions into `folder`."""
        self.text_encoder.save_pretrained(folder / "text_encoder")
        save_file(self.unet.add_embedding.state_dict(), folder / "text_encoder" / TELLER)

    def load_reading(self, folder: Path) -> None:
        """Take what has learnt to read from `folder`; the text encoder learns no more, as that of Stable Diffusion.

        Raises:
            InputFault: `folder` has no such weights, or the U-Net is of the kind that is not told captions.
        """
        told = folder / "text_encoder" / TELLER
        if not told.is_file():
            message = f"{folder} has no text_encoder/{TELLER}: `python -m models.diffusion.lite_base language` makes it"
            raise InputFault(message)
        if self.unet.config.addition_embed_type != "text":
            message = "this U-Net's residual blocks are not told the caption: begin with one whose addition_embed_type "
            raise InputFault(message + f'is "text", not {self.unet.config.addition_embed_type!r}')
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").requires_grad_(requires_grad=False)
        self.unet.add_embedding.load_state_dict(load_file(told))


@dataclass(frozen=True)
class Lesson:
    """What the denoiser learns from.

    Scaled latents `(N, 2, C, h, w)`, the second mirrored; how much each of their places counts `(N, 2, 1, h, w)`; and
    captions.
    """

    latents: torch.Tensor
    weights: torch.Tensor
    captions: Sequence[str]


class DenoiserLoss:
    """How wrong the denoiser is about a batch of noisy latents."""

    def __init__(self, denoiser: Denoiser, lesson: Lesson, schedule: Schedule, device: torch.device) -> None:
        self.denoiser, self.lesson, self.schedule, self.device = denoiser, lesson, schedule, device
        self.noises = DDPMScheduler.from_config(noise_schedule())
        # Every noise level counts alike: on 16x16 latents the words matter below a signal-to-noise ratio of 0.4, which
        # min-SNR weighting would count less than a quarter, and a hundredth where they matter most.
        self.objective = Objective(self.noises)
        self.tokens: dict[str, torch.Tensor] = {}

    def __call__(self, step: int) -> torch.Tensor:
        """Return the mean loss of the batch of `step`."""
        size = self.schedule.batch
        generator = seeded_generator(self.schedule.seed, "denoiser", step)
        chosen = torch.randint(len(self.lesson.latents), (size,), generator=generator)
        latents = self.lesson.latents[chosen]
        mirrored = torch.randint(latents.shape[1], (size,), generator=generator)
        clean = latents[torch.arange(size), mirrored].to(self.device)
        weights = self.lesson.weights[chosen, mirrored].to(self.device)
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        timesteps = self._timesteps(generator).to(self.device)
        captions = [vary_caption(self.lesson.captions[index], generator) for index in chosen.tolist()]
        noisy = self.noises.add_noise(clean, noise, timesteps)
        with autocast(self.device):
            with torch.no_grad():
                states = self.denoiser.text_encoder(self._tokens(captions))[0]
            prediction = self.denoiser.unet(noisy, timesteps, states).sample
        target = self.objective.target(clean, noise, timesteps)
        return self.objective.losses(prediction, target, timesteps, weights).mean()

    def _timesteps(self, generator: torch.Generator) -> torch.Tensor:
        """Return a timestep (N,) out of each of N equal parts of the schedule: a batch misses no noise level."""
        size = self.schedule.batch
        places = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
        steps: int = self.noises.config.num_train_timesteps
        return (places * steps).long().clamp(max=steps - 1)

    def _tokens(self, captions: list[str]) -> torch.Tensor:
        for caption in captions:
            if caption not in self.tokens:
                encoded = self.denoiser.tokenizer(caption, padding="max_length", truncation=True, return_tensors="pt")
                self.tokens[caption] = encoded.input_ids[0]
        return torch.stack([self.tokens[caption] for caption in captions]).to(self.device)


def figure_weights(stills: Sequence[Still], heads: Path) -> torch.Tensor:
    """Return how much each latent of the stills and of their mirror images counts, `(N, 2, 1, 16, 16)`.

    Raises:
        InputFault: `heads`, made by samples/world/find_heads.py, does not say where a head is.
    """
    side = SIZE // LATENT_PIXELS
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = (x + 0.5) * LATENT_PIXELS, (y + 0.5) * LATENT_PIXELS
    weights = torch.ones(len(stills), side, side)
    for row, head in zip(weights, heads_of(stills, heads), strict=True):
        if head is not None:
            right, below, radius = (x - head[0]) / head[2], (y - head[1]) / head[2], head[2]
            row[(right.abs() < 2.2) & (below > -1.4) & (below < 5.8)] = FIGURE_WEIGHT  # noqa: PLR2004  radii
            away, latent = (right.square() + below.square()).sqrt(), LATENT_PIXELS / radius
            row[away < 1.1 + 0.5 * latent] = HEAD_WEIGHT
            row[away < 0.7 + 0.3 * latent] = FACE_WEIGHT
    return torch.stack([weights, weights.flip(-1)], dim=1)[:, :, None]


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


def _build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // LATENT_PIXELS,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(WIDTH, 2 * WIDTH, 2 * WIDTH),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        # Beside cross-attention, the whole caption is told to every residual block, as in DeepFloyd IF.
        addition_embed_type="text",
        addition_embed_type_num_heads=20,
    )
