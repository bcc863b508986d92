"""The denoiser of the `lite` base model: a U-Net that learns from captioned latents what the text encoder reads."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from data_contracts.faults import InputFault
from models.diffusion.lite_base.autoencoder import LATENT_CHANNELS
from models.diffusion.lite_base.lesson import LATENT_PIXELS, Lesson, some_of
from models.diffusion.lite_base.loop import Schedule, autocast
from models.diffusion.lite_base.vary import vary_caption
from models.diffusion.objective import Objective
from models.diffusion.vocabulary import cut_tokenizer, text_config
from models.seeds import seeded_generator
from models.stills import SIZE, Still

TEXT_WIDTH = 160
WIDTH = 96
TOLD = 4 * WIDTH
"""Numbers that the U-Net's residual blocks are told: of the timestep and of the caption."""
COMMON_MERGES = 4000
TELLER = "add_embedding.safetensors"
SEEN_FROM = 0.05
"""The signal-to-noise ratio from which on it is known where somebody is, so that errors there may count more.

Where that is still to be decided, a weight on heads would make heads likelier everywhere: people got two or three.
"""
GROUPED, MEMBERS = 0.75, 4
"""Share of a batch that comes from groups, and how many of one group; they share noise and timestep.

What differs in such pictures differs in the words alone: nothing else drowns what a pose or an expression changes.
"""
LEAST_DIFFERENCE = 1e-3
"""The variance within a group, over all latents, below which it counts no more: pictures that hardly differ."""
TOLD_APART = 0.5
"""How much it counts which share of what differs within a group is left unexplained."""
SCHEDULE = Schedule(steps=28600, batch=16, learning_rate=4e-4, seed=2)


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


class DenoiserLoss:
    """How wrong the denoiser is about a batch of noisy latents."""

    def __init__(self, denoiser: Denoiser, lesson: Lesson, schedule: Schedule, device: torch.device) -> None:
        self.denoiser, self.lesson, self.schedule, self.device = denoiser, lesson, schedule, device
        self.noises = DDPMScheduler.from_config(noise_schedule())
        # Every noise level counts alike: on 16x16 latents the words matter below a signal-to-noise ratio of 0.4, which
        # min-SNR weighting would count less than a quarter, and a hundredth where they matter most.
        self.objective = Objective(self.noises)
        self.tokens: dict[str, torch.Tensor] = {}
        self._singles = lesson.singles

    def __call__(self, step: int) -> torch.Tensor:
        """Return the mean loss of the batch of `step`."""
        generator = seeded_generator(self.schedule.seed, "denoiser", step)
        rows, units, by_pose = self._choose(generator)
        count = len(by_pose)
        views = torch.randint(self.lesson.latents.shape[1], (count,), generator=generator)[units]
        clean = self.lesson.latents[rows, views].to(self.device)
        noise = torch.randn(count, *clean.shape[1:], generator=generator)[units].to(self.device)
        timesteps = self._timesteps(by_pose, generator)[units].to(self.device)
        fates = [seeded_generator(self.schedule.seed, f"caption {step}", unit) for unit in units.tolist()]
        captions = [vary_caption(self.lesson.captions[row], fate) for row, fate in zip(rows, fates, strict=True)]
        weights = self._weights(self.lesson.weights[rows, views].to(self.device), timesteps, captions)
        noisy = self.noises.add_noise(clean, noise, timesteps)
        states = self.states(captions)
        with autocast(self.device):
            prediction = self.denoiser.unet(noisy, timesteps, states).sample
        target = self.objective.target(clean, noise, timesteps)
        loss = self.objective.losses(prediction, target, timesteps, weights).mean()
        return loss + TOLD_APART * unexplained(prediction.float() - target, clean, units).mean()

    @torch.no_grad()
    def states(self, captions: Sequence[str]) -> torch.Tensor:
        """Return what the text encoder reads in the captions `(N, 77, width)`."""
        with autocast(self.device):
            states: torch.Tensor = self.denoiser.text_encoder(self._tokens(captions))[0]
        return states

    def _choose(self, generator: torch.Generator) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """Return the rows of a batch (N,), the unit of each, and which units (U,) are groups of several poses.

        Members of a group share a unit, counted from 0.
        """
        size = self.schedule.batch
        groups = round(size * GROUPED) // MEMBERS if self.lesson.groups else 0
        rows, units = [], []
        chosen = some_of(self.lesson.groups, groups, generator)
        for unit, group in enumerate(chosen):
            order = torch.randperm(len(group.rows), generator=generator).tolist()[:MEMBERS]
            rows += [group.rows[place] for place in order]
            units += [unit] * len(order)
        alone = some_of(self._singles, size - len(rows), generator)
        units += range(groups, groups + len(alone))
        by_pose = [*(group.by_pose for group in chosen), *[False] * len(alone)]
        return [*rows, *alone], torch.tensor(units), torch.tensor(by_pose)

    def _timesteps(self, by_pose: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a timestep for each unit, one out of each equal part of the schedule: a batch misses no noise level.

        Groups of several poses see much noise more often, in which poses are decided: a timestep as often as it is
        large.
        """
        count = len(by_pose)
        places = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        places = torch.where(by_pose, places.sqrt(), places)
        steps: int = self.noises.config.num_train_timesteps
        return (places * steps).long().clamp(max=steps - 1)

    def _weights(self, weights: torch.Tensor, timesteps: torch.Tensor, captions: Sequence[str]) -> torch.Tensor:
        """Return how much each latent counts `(N, 1, h, w)`: all alike where nothing tells where somebody is."""
        kept: torch.Tensor = self.noises.alphas_cumprod.to(timesteps.device)[timesteps]
        seen = (kept / (1 - kept) / SEEN_FROM).clamp(max=1).square()
        told = torch.tensor([caption != "" for caption in captions], device=timesteps.device)
        return 1 + (weights - 1) * (seen * told)[:, None, None, None]

    def _tokens(self, captions: Sequence[str]) -> torch.Tensor:
        for caption in captions:
            if caption not in self.tokens:
                encoded = self.denoiser.tokenizer(caption, padding="max_length", truncation=True, return_tensors="pt")
                self.tokens[caption] = encoded.input_ids[0]
        return torch.stack([self.tokens[caption] for caption in captions]).to(self.device)


def unexplained(errors: torch.Tensor, clean: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return what the members of each group do not share of the errors `(N, C, h, w)`, by how much they differ `(G,)`.

    What is wrong with all members alike, such as where somebody stands, cancels out: unlike a weight on faces, this
    does not make faces likelier anywhere. `units` (N,) are equal for the members of a group.
    """
    shares = []
    for unit in units.unique().tolist():
        members = units == unit
        if int(members.sum()) > 1:
            differing = clean[members].var(dim=0, correction=0).mean().clamp(min=LEAST_DIFFERENCE)
            shares.append(errors[members].var(dim=0, correction=0).mean() / differing)
    return torch.stack(shares) if shares else errors.new_zeros(1)


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
