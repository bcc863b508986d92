"""The autoencoder of the `lite` base model: 128x128 pictures to 16x16 latents of 8 channels and back."""

# mypy: disable-error-code="no-untyped-call"

from typing import Any

import torch
from diffusers import AutoencoderKL

from models.diffusion.lite_base.loop import Schedule, autocast
from models.diffusion.unet_model import ENCODE_BATCH, encode
from models.seeds import seeded_generator
from models.stills import SIZE, Stills, unit_range

LATENT_CHANNELS = 8
KL_WEIGHT = 2e-4
SQUARE_WEIGHT = 2.0
CROP = 32
"""Side of the crops that most steps see: many small ones teach as much a second as whole pictures do in ten."""
WHOLE_FROM = 0.9
WHOLE_BATCH = 4
"""The last steps see whole pictures, so that the group norms meet the statistics that they will be used on."""
SCHEDULE = Schedule(steps=14000, batch=32, learning_rate=2e-3, seed=1)


def build_autoencoder() -> AutoencoderKL:
    """Return the autoencoder with fresh weights.

    Eight latent channels, not Stable Diffusion's four: with four, eyes and mouths of 128x128 pictures were smeared.
    Groups of many channels in the norms: eight groups of two lost the colours of walls.
    """
    channels = (16, 32, 64, 128)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=2,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


class AutoencoderLoss:
    """How far a batch comes back from what went in; half of the pictures are mirrored."""

    def __init__(self, network: Any, stills: Stills, schedule: Schedule, device: torch.device) -> None:  # noqa: ANN401  AutoencoderKL declares no members
        self.network, self.schedule, self.device = network, schedule, device
        self.pictures = stills.pictures

    def __call__(self, step: int) -> torch.Tensor:
        """Return the loss of the batch of `step`: absolute and squared error, and a little KL divergence."""
        generator = seeded_generator(self.schedule.seed, "autoencoder", step)
        whole = step >= WHOLE_FROM * self.schedule.steps
        pictures = self._batch(WHOLE_BATCH if whole else self.schedule.batch, generator)
        if not whole:
            pictures = crop(pictures, generator)
        pictures = pictures.to(self.device)
        with autocast(self.device):
            posterior = self.network.encode(pictures).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
            returned = self.network.decode(posterior.mean + posterior.std * noise).sample.float()
        errors = returned - pictures
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        loss: torch.Tensor = errors.abs().mean() + SQUARE_WEIGHT * errors.square().mean() + KL_WEIGHT * divergence
        return loss

    def _batch(self, size: int, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(self.pictures), (size,), generator=generator)
        pictures = unit_range(self.pictures[chosen])
        mirrored = torch.rand(size, generator=generator) < 0.5  # noqa: PLR2004  half of them
        pictures[mirrored] = pictures[mirrored].flip(-1)
        return pictures


def crop(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a CROP wide square of each picture, more often of the middle, where people stand."""
    spare = pictures.shape[-1] - CROP
    places = torch.rand((len(pictures), 2, 2), generator=generator).mean(dim=-1)  # triangular about the middle
    corners = (places * (spare + 1)).long().tolist()
    squares = [
        part[:, top : top + CROP, left : left + CROP] for part, (top, left) in zip(pictures, corners, strict=True)
    ]
    return torch.stack(squares)


def latent_scale(network: Any, pictures: torch.Tensor) -> float:  # noqa: ANN401  AutoencoderKL declares no members
    """Return the factor that gives the latents of `pictures` (N, 3, H, W) uint8 a standard deviation of one."""
    latents = encode(network, (unit_range(part) for part in pictures.split(ENCODE_BATCH)))
    return float(1 / latents.std())
