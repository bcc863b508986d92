"""What a denoiser is trained to say, and how much each mistake counts."""

from dataclasses import dataclass
from typing import Any

import torch

_TINY = 1e-12


@dataclass(frozen=True)
class Prior:
    """What the base model says (N, 4, h, w), to be kept outside a mask, and how much that counts, 0..1.

    Left to itself, a network that is scored inside masks alone learns to put what they show everywhere: while noise
    hides where that will be, nothing says where it is not. Known as masked prior preservation from OneTrainer.
    Left to itself, it also learns to do so unasked, and guidance strengthens what is done when asked alone: kept where
    there is no prompt, with nothing of the picture in the mask, it is blank prompt preservation from ai-toolkit.
    """

    prediction: torch.Tensor
    weight: float | torch.Tensor  # (N, 1, 1, 1)


@dataclass(frozen=True)
class Objective:
    """The loss of a noise or velocity prediction.

    min_snr_gamma: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023; 0 weighs all alike.
    """

    scheduler: Any  # DDPMScheduler, whose members diffusers does not declare
    min_snr_gamma: float = 0.0
    offsets_noise: bool = True

    @property
    def prediction_type(self) -> str:
        """What the network says: the noise (epsilon), or the velocity (v_prediction)."""
        return str(self.scheduler.config.prediction_type)

    def draw_timestep(self, generator: torch.Generator) -> torch.Tensor:
        """Return one timestep (1,) of the schedule, int64, all alike likely."""
        return torch.randint(self.scheduler.config.num_train_timesteps, (1,), generator=generator)

    def disturb(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return `latents` (N, 4, h, w) with as much `noise` in them as the schedule has at the timesteps (N,)."""
        noisy: torch.Tensor = self.scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the network should say: the noise (epsilon), or the velocity (v_prediction).

        Raises:
            ValueError: the base model predicts something else.
        """
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            velocity: torch.Tensor = self.scheduler.get_velocity(latents, noise, timesteps)
            return velocity
        message = f"the base model's scheduler predicts {kind!r}; trained are 'epsilon' and 'v_prediction'"
        raise ValueError(message)

    def losses(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor | None = None,
        prior: Prior | None = None,
    ) -> torch.Tensor:
        """Return the loss (N,) of each picture from prediction, target (N, 4, h, w), mask (N, 1, h, w) in 0..1."""
        return squared_errors(prediction, target, mask, prior) * self.weights(timesteps)

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Return how much each timestep (N,) counts: min(snr, gamma) / snr, or / (snr + 1) for a velocity."""
        if not self.min_snr_gamma:
            return torch.ones_like(timesteps, dtype=torch.float32)
        kept: torch.Tensor = self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        snr = kept / (1 - kept)
        weights = snr.clamp(max=self.min_snr_gamma)
        velocity = self.scheduler.config.prediction_type == "v_prediction"
        return weights / (snr + 1 if velocity else snr)


def squared_errors(
    prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None, prior: Prior | None = None
) -> torch.Tensor:
    """Return the mean squared error (N,) of each picture: of all of it, or what the mask shows and the prior keeps."""
    errors = (prediction.float() - target.float()).square()
    if mask is not None and prior is not None:
        outside = prior.weight * (1 - mask)
        changes = (prediction.float() - prior.prediction.float()).square()
        counted = mask + outside
        errors, mask = (mask * errors + outside * changes) / counted.clamp(min=_TINY), counted
    return errors.mean(dim=(1, 2, 3)) if mask is None else masked_mean(errors, mask)


def masked_mean(errors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean (N,) of `errors` (N, C, h, w) under `mask` (N, 1, h, w): a small mask counts as much as a large.

    Raises:
        ValueError: a mask is empty, so nothing of its picture would be learnt.
    """
    shares = mask.mean(dim=(1, 2, 3))
    if bool((shares <= 0).any()):
        message = f"mask {int((shares <= 0).int().argmax())} of the batch is empty"
        raise ValueError(message)
    return (errors * mask).mean(dim=(1, 2, 3)) / shares


def offset_noise(noise: torch.Tensor, offsets: torch.Tensor, share: float) -> torch.Tensor:
    """Return `noise` (N, 4, h, w) plus `share` times `offsets` (N, 4, 1, 1): each channel moves as a whole.

    Guttenberg, Diffusion with Offset Noise, 2023.
    """
    return noise + share * offsets


def learning_rate_factor(step: int, steps: int, warmup: int, cycles: int | None) -> float:
    """Return the share of the peak rate at `step`: linear warm-up, then `cycles` cosine falls, or constant (None)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if cycles is None:
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    phase = torch.tensor(done * cycles, dtype=torch.float64).frac()
    return float(0.5 * (1 + torch.cos(phase * torch.pi)))
