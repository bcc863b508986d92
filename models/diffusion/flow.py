"""Flow matching: what FLUX and Qwen-Image are trained to say.

A picture x and noise n are the ends of a straight line, x_t = (1 - t) x + t n, and what is learnt is the way along it,
the velocity n - x. Lipman et al., Flow Matching for Generative Modeling, 2023; Liu et al., Rectified Flow, 2023.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from data_contracts.training import TrainSettings
from models.diffusion.objective import Prior, squared_errors


@dataclass(frozen=True)
class FlowMatching:
    """The loss of a velocity; timesteps are the share t of noise, 0..1.

    sampling: "uniform", or "logit_normal": the logistic function of a normal number, so that the middle of the way is
        seen more often. Esser et al., Scaling Rectified Flow Transformers, 2024, 3.1.
    shift: above 1, t moves towards noise, t' = shift t / (1 + (shift - 1) t): large pictures need more noise to be
        hidden. Ibid., 5.3.2.
    """

    sampling: str = "logit_normal"
    shift: float = 1.0
    offsets_noise: bool = False
    prediction_type: str = "flow"

    def draw_timestep(self, generator: torch.Generator) -> torch.Tensor:
        """Return one share of noise (1,), float32, between 0 and 1."""
        if self.sampling == "uniform":
            share = torch.rand((1,), generator=generator)
        else:
            share = torch.randn((1,), generator=generator).sigmoid()
        return shifted(share, self.shift)

    def disturb(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the points (N, C, h, w) at the shares (N,) of the way from `latents` to `noise`."""
        share = timesteps[:, None, None, None]
        return (1 - share) * latents + share * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the velocity, the same at every timestep."""
        return noise - latents

    def losses(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        timesteps: torch.Tensor,  # noqa: ARG002  all count alike: they are drawn as often as they matter
        mask: torch.Tensor | None = None,
        prior: Prior | None = None,
    ) -> torch.Tensor:
        """Return the loss (N,) of each picture from prediction, target (N, C, h, w), mask (N, 1, h, w) in 0..1."""
        return squared_errors(prediction, target, mask, prior)


def shifted(share: torch.Tensor, shift: float) -> torch.Tensor:
    """Return shares of noise, moved towards noise where `shift` is above 1; 0 and 1 stay where they are."""
    return shift * share / (1 + (shift - 1) * share)


def flow_objective(settings: TrainSettings, scheduler: Mapping[str, Any], tokens: int) -> FlowMatching:
    """Return the objective for pictures of `tokens` patches, as the settings say or else the base model's scheduler.

    scheduler: the configuration of its FlowMatchEulerDiscreteScheduler.
    """
    shift = settings.timestep_shift or scheduler_shift(scheduler, tokens)
    return FlowMatching(settings.timestep_sampling, shift)


def scheduler_shift(scheduler: Mapping[str, Any], tokens: int) -> float:
    """Return the shift with which the base model draws pictures of `tokens` patches; FLUX's grows with them."""
    if not scheduler.get("use_dynamic_shifting"):
        return float(scheduler.get("shift", 1.0))
    shift = size_shift(scheduler, tokens)
    return shift if scheduler.get("time_shift_type") == "linear" else math.exp(shift)


def size_shift(scheduler: Mapping[str, Any], tokens: int) -> float:
    """Return what diffusers calls mu, on the straight line between the shifts of small and of large pictures."""
    few, many = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    least, most = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)
    return float(least + (most - least) * (tokens - few) / (many - few))
