"""The denoiser's last lesson: it draws, and what critics miss in its drawings tells it how to draw otherwise.

A denoiser of few parameters spends them on what most of a picture is. Critics that look for a pose or a smile alone
tell it what its words were about. Wu et al., Deep Reward Supervisions for Tuning Text-to-Image Diffusion Models, 2024:
the slope at the finished drawing is led to some of the steps that made it, past the steps between.

A critic that was taught by stills alone is soon content with a part of a smile and no face around it. So beside it a
rival goes on learning, from the stills and from the drawings, that those are drawn.
"""

# mypy: disable-error-code="no-untyped-call"

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.diffusion.lite_base.critic import Critic, drawn_of, jolted, lacking, wanted_of
from models.diffusion.lite_base.denoiser import DenoiserLoss
from models.diffusion.lite_base.lesson import some_of
from models.diffusion.lite_base.loop import Schedule, autocast
from models.seeds import seeded_generator
from models.stills import Still

STEPS = 8
"""Steps of a drawing. What 25 steps would draw is much alike, and takes three times as long."""
CORRECTED = 3
"""At how many of a drawing's steps the denoiser is told what to do otherwise."""
GUIDANCE = (2.5, 5.5)
"""Between which a drawing's guidance is drawn, so that what is learnt holds for more than one."""
NEAR, EMPTY = 9, 1
"""How many of the captions are of close-ups, and of empty scenes."""
COUNTS: Mapping[str, float] = {
    "expression": 3.0,
    "pose": 1.0,
    "view": 0.3,
    "kind": 0.3,
    "shot": 0.3,
    "top": 0.2,
    "hair": 0.1,
    "style": 0.1,
}
"""How much it counts that a critic misses something."""
TAUGHT = 0.35
"""How much the critic counts beside its rival."""
SLOPE = 1 / 32
"""By how much slopes are lessened, which are long: so that the stills, learnt from as before, are not forgotten."""
SCHEDULE = Schedule(steps=2000, batch=16, learning_rate=2e-4, seed=5, warmup=30, fall=0.35, weight_decay=0.0)


@dataclass(frozen=True)
class Drawn:
    """A drawing's latents `(N, C, h, w)`, those that each step began with, its timestep, and what its velocity added.

    worths: by how much the finished latents change with the velocity of each step.
    """

    latents: torch.Tensor
    begun: Sequence[torch.Tensor]
    timesteps: Sequence[int]
    worths: Sequence[float]


class RewardLoss:
    """What critics miss in drawings of the captions of a step, and how wrong the denoiser is about stills.

    `learners` are the denoiser's U-Net and the rival, which learn at once, each from a part of the loss.
    """

    def __init__(
        self,
        on_stills: DenoiserLoss,
        critic: Critic,
        stills: Sequence[Still],
        schedule: Schedule,
    ) -> None:
        self.on_stills, self.schedule, self.device = on_stills, schedule, on_stills.device
        self.critic = critic.eval().requires_grad_(requires_grad=False)
        self.rival = critic.rival().to(self.device).eval()  # its running means stay those of the stills
        self.learners = nn.ModuleList([on_stills.denoiser.unet, self.rival])
        self.wanted = wanted_of(stills, critic.classes)
        self.captions = [still.caption for still in stills]
        empty = [row for row, still in enumerate(stills) if still.empty]
        near = [row for row, still in enumerate(stills) if still.shot == "close"]
        people = [row for row, still in enumerate(stills) if not still.empty]
        self._unsaid = on_stills.states([""])
        self._kinds = [(EMPTY, empty), (NEAR, near), (schedule.batch - EMPTY - NEAR, people)]

    def __call__(self, step: int) -> torch.Tensor:
        """Return a loss with the value of what the critic misses; its slope leads to less of it and to true stills."""
        generator = seeded_generator(self.schedule.seed, "reward", step)
        rows = self._choose(generator)
        states = self.on_stills.states([self.captions[row] for row in rows])
        least, most = GUIDANCE
        guidance = least + (most - least) * float(torch.rand((), generator=generator))
        drawn = self._draw(states, guidance, generator)
        latents, wanted = drawn.latents.requires_grad_(), self.wanted[rows].to(self.device)
        missed = self._lack(self.critic, latents, wanted, generator)
        found_out = self._lack(self.rival, latents, wanted, generator)
        (slope,) = torch.autograd.grad(TAUGHT * missed + found_out, latents)
        led = torch.zeros((), device=self.device)
        for number in torch.randperm(STEPS, generator=generator)[:CORRECTED].tolist():
            velocity = self._velocity(drawn.begun[number], drawn.timesteps[number], states)
            led = led + (velocity * slope).sum() * (drawn.worths[number] * guidance * STEPS / CORRECTED)
        apart = self._lack(self.rival, latents.detach(), drawn_of(wanted, self.rival), generator)
        apart = apart + self._lack(self.rival, *self._shown(self._choose(generator), generator), generator)
        corrected = SLOPE * led + self.on_stills(step) + apart
        return corrected - corrected.detach() + missed.detach()

    def _choose(self, generator: torch.Generator) -> list[int]:
        """Return the rows of a batch, close-ups more often than there are."""
        return [row for count, kind in self._kinds for row in some_of(kind, count, generator)]

    def _shown(self, rows: Sequence[int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latents of the stills `rows` and the classes of their answers."""
        return self.on_stills.lesson.shown(rows, generator).to(self.device), self.wanted[rows].to(self.device)

    def _lack(
        self, critic: Critic, latents: torch.Tensor, wanted: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        with autocast(self.device):
            answers = critic(jolted(latents, generator))
        lacks = lacking(answers, wanted)
        return torch.stack([COUNTS[name] * lack.mean() for name, lack in lacks.items()]).sum()

    @torch.no_grad()
    def _draw(self, states: torch.Tensor, guidance: float, generator: torch.Generator) -> Drawn:
        """Draw captions with these `states` by DDIM."""
        count = len(states)
        noises = self.on_stills.noises
        every = noises.config.num_train_timesteps // STEPS
        last = noises.config.num_train_timesteps - 1 - int(torch.randint(every // 3, (1,), generator=generator))
        timesteps = [last - every * number for number in range(STEPS)]
        kept = [float(noises.alphas_cumprod[timestep]) for timestep in timesteps] + [1.0]
        shape = (count, *self.on_stills.lesson.latents.shape[2:])
        latents = torch.randn(shape, generator=generator).to(self.device)
        unsaid = self._unsaid.expand(count, -1, -1)
        begun, stays, adds = [], [], []
        for number, timestep in enumerate(timesteps):
            begun.append(latents)
            both = self._velocity(torch.cat([latents, latents]), timestep, torch.cat([unsaid, states]))
            without, told = both.chunk(2)
            stay, add = ddim_step(kept[number], kept[number + 1])
            latents = stay * latents + add * (without + guidance * (told - without))
            stays.append(stay)
            adds.append(add)
        worths = [add * math.prod(stays[number + 1 :]) for number, add in enumerate(adds)]
        return Drawn(latents, begun, timesteps, worths)

    def _velocity(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        times = torch.full((len(latents),), timestep, device=self.device)
        with autocast(self.device):
            velocity: torch.Tensor = self.on_stills.denoiser.unet(latents, times, states).sample
        return velocity.float()


def mean_of(before: nn.Module, after: nn.Module) -> nn.Module:
    """Return `after` with the mean of both networks' weights.

    It draws what it is told nearly as well as `after`, and learns LoRAs nearly as well as `before`: neither does both.
    Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, 2022.
    """
    with torch.no_grad():
        for kept, mean in zip(before.parameters(), after.parameters(), strict=True):
            mean.lerp_(kept, 0.5)
    return after


def ddim_step(now: float, then: float) -> tuple[float, float]:
    """Return what latents and velocity are multiplied by, so that the signal's share, squared, is `then` and not `now`.

    Both are in 0..1. Song et al., Denoising Diffusion Implicit Models, 2021.
    """
    signal, noise, signal_then, noise_then = now**0.5, (1 - now) ** 0.5, then**0.5, (1 - then) ** 0.5
    return signal_then * signal + noise_then * noise, noise_then * signal - signal_then * noise
