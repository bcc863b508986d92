"""Pictures with several LoRAs at once: their changes summed, or one of the two ways that keep them apart.

The sum is one network in which LoRAs that change the same layers get in each other's way. LoRA Switch has one LoRA on
at a time, the next one after every few denoising steps. LoRA Composite asks at every step what each would predict
alone, both for the prompt c and without it, and follows the mean guidance of the k LoRAs,

    1/k sum_i [ e_i(z) + s (e_i(z, c) - e_i(z)) ],

which is the guidance of their mean predictions. Zhong et al., Multi-LoRA Composition for Image Generation, 2024, 3.
A LoRA that is on alone is so in the text encoders as well: each reads the prompts for itself.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.generation import Variant
from models.diffusion.families import Call, DiffusionModel, Drawing
from models.diffusion.lora_stack import set_lora_weights

Reading = Callable[[Call], Call]
"""Puts prompts, as one LoRA reads them, into a call of the denoiser."""


@dataclass(frozen=True)
class Batch:
    """Pictures that are drawn together: a prompt and a seed each."""

    prompts: Sequence[str]
    negative_prompt: str
    seeds: Sequence[int]


def sample_stacked(model: DiffusionModel, variant: Variant, batch: Batch, drawing: Drawing) -> list[NDArray[np.uint8]]:
    """Return a picture (size, size, 3) RGB uint8 for each prompt and its seed, drawn with a stack of added LoRAs.

    Raises:
        InputFault: a prompt is too long, or the model's family has no blocks to be weighed apart.
    """
    if variant.method == "linear":
        set_lora_weights(model, variant.weights, variant.blocks)
        return model.sample(batch.prompts, batch.negative_prompt, batch.seeds, drawing)
    readings = {}
    with torch.no_grad():
        for name in variant.active:
            _turn_on(model, variant, name)
            readings[name] = model.reading(batch.prompts, batch.negative_prompt, drawing)
    with _answered(model, variant, readings):
        return model.sample(batch.prompts, batch.negative_prompt, batch.seeds, drawing)


def _turn_on(model: DiffusionModel, variant: Variant, name: str) -> None:
    set_lora_weights(model, {name: variant.weights[name]}, variant.blocks)


@contextmanager
def _answered(model: DiffusionModel, variant: Variant, readings: Mapping[str, Reading]) -> Iterator[None]:
    """Have each call of the denoiser answered by the LoRAs whose turn it is: by the mean of what they say."""
    forward = model.denoiser.forward
    signature = inspect.signature(forward)
    names = list(readings)
    step, last_time = -1, None

    def answer(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as the denoiser's own
        nonlocal step, last_time
        call = signature.bind(*args, **kwargs).arguments
        time = float(torch.as_tensor(call["timestep"]).flatten()[0])
        if time != last_time:  # a step may call twice: with the prompt, and without it
            step, last_time = step + 1, time
        turn = step // variant.switch_every % len(names)
        answers = []
        for name in names if variant.method == "composite" else names[turn : turn + 1]:
            _turn_on(model, variant, name)
            answers.append(forward(**readings[name](call)))
        return _mean(answers)

    model.denoiser.forward = answer
    try:
        yield
    finally:
        del model.denoiser.forward


def _mean(answers: Sequence[Any]) -> Any:  # noqa: ANN401  a tuple of one tensor, or diffusers' record of it
    """Return the mean of a network's outputs, in their form."""
    first = answers[0]
    if len(answers) == 1:
        return first
    mean = torch.stack([answer[0] for answer in answers]).mean(dim=0)
    return (mean,) if isinstance(first, tuple) else type(first)(sample=mean)
