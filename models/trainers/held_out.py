"""How well a LoRA denoises pictures, at the same noise every time: those held out, and some that it learnt from.

Both losses begin at the base model's, at step 0; with an embedding, at what the base model makes of its initial words.
Where the held-out pictures' stops falling and the learnt ones' goes on, what is learnt from there on is the pictures,
not their subject.
"""

from statistics import fmean

import torch

from data_contracts.training import TrainRequest
from data_contracts.validations import Validation
from models.child import stop_requested
from models.diffusion.families import Objective
from models.seeds import seeded_generator
from models.trainers.examples import Draw, prepare
from models.trainers.step import Adapter, Trainer

TIMESTEPS = 4
"""How many amounts of noise each picture is seen at."""
_DRAWS = 4096
_SEED = 0  # not the run's own: runs of other seeds and settings are compared with one another
_PLAIN = {
    "compile": False,
    "noise_offset": 0.0,
    "min_snr_gamma": 0.0,
    "masked_prior": 0.0,
    "blank_preservation": False,
    "caption_tag_dropout": 0.0,
    "timestep_sampling": "uniform",
    "timestep_shift": 1.0,
}
"""What is measured depends on the data alone: not on what the settings let each mistake count, or how they compute."""


class HeldOut:
    """The pictures that a request holds out, and those it compares them with."""

    def __init__(self, adapter: Adapter, request: TrainRequest) -> None:
        """Encode the pictures and their captions.

        Raises:
            InputFault: a picture or a mask cannot be used.
            Stopped: SIGTERM came meanwhile.
        """
        settings = request.settings.model_copy(update=_PLAIN)
        prepared = prepare(adapter.model, (*request.held_out, *request.compared), settings)
        self._scorer = Trainer(adapter, prepared, settings)  # it never steps
        self._timesteps = spread_timesteps(self._scorer.objective, TIMESTEPS)
        self._held_out = len(request.held_out)

    def measure(self, step: int) -> Validation | None:
        """Return the losses with the adapter as it is after `step` steps; None where SIGTERM came meanwhile.

        Raises:
            FloatingPointError: a loss is not a finite number.
        """
        losses: list[float] = []
        for number in range(len(self._scorer.prepared.examples)):
            if stop_requested():
                return None
            with torch.no_grad():
                losses.append(fmean(self._scorer.losses(self._disturbed(number), step - 1).tolist()))
        return Validation(step=step, held_out=tuple(losses[: self._held_out]), learnt=tuple(losses[self._held_out :]))

    def _disturbed(self, number: int) -> Draw:
        """Return one picture with as many amounts of noise as there are timesteps: a batch of one shape."""
        prepared = self._scorer.prepared
        shape = prepared.latents[number].shape  # (C, h, w)
        generator = seeded_generator(_SEED, "validation", number)
        noise = torch.randn((TIMESTEPS, *shape), generator=generator)
        caption = prepared.examples[number].caption
        offsets = torch.zeros((TIMESTEPS, shape[0], 1, 1))
        return Draw([number] * TIMESTEPS, self._timesteps, noise, offsets, [caption] * TIMESTEPS)


def spread_timesteps(objective: Objective, count: int) -> torch.Tensor:
    """Return `count` timesteps (count,) in rising order: the middles of equal parts of all that the objective draws."""
    generator = seeded_generator(_SEED, "timesteps")
    drawn = torch.cat([objective.draw_timestep(generator) for _ in range(_DRAWS)]).sort().values
    return drawn[[(2 * place + 1) * _DRAWS // (2 * count) for place in range(count)]]
