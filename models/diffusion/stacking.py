"""Pictures with several LoRAs at once: their changes summed, or one of the ways that keep them apart.

The sum is one network in which LoRAs that change the same layers get in each other's way. LoRA Switch has one LoRA on
at a time, the next one after every few denoising steps. LoRA Composite asks at every step what each would predict
alone, both for the prompt c and without it, and follows the mean guidance of the k LoRAs,

    1/k sum_i [ e_i(z) + s (e_i(z, c) - e_i(z)) ],

which is the guidance of their mean predictions. Zhong et al., Multi-LoRA Composition for Image Generation, 2024, 3.
A LoRA that is on alone is so in the text encoders as well: each reads the prompts for itself.

Regional prompts have each part of a picture drawn by its own LoRAs from its own prompt, see `regions`.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.faults import InputFault
from data_contracts.generation import Variant
from models.diffusion.drawing import Drawing
from models.diffusion.families import Call, DiffusionModel, networks_of
from models.diffusion.folding import folded
from models.diffusion.lora_stack import set_lora_weights
from models.diffusion.regions import Grid, Part, parts_of


@dataclass(frozen=True)
class Batch:
    """Pictures that are drawn together: a prompt and a seed each."""

    prompts: Sequence[str]
    negative_prompt: str
    seeds: Sequence[int]


@dataclass(frozen=True)
class Voice:
    """What is asked what to do next: LoRAs with their weights, and what puts their prompts into a call.

    part: the part of the picture that it speaks of; None: all of it.
    """

    weights: Mapping[str, float]
    reading: Callable[[Call], Call]
    part: Part | None = None


def sample_stacked(model: DiffusionModel, variant: Variant, batch: Batch, drawing: Drawing) -> list[NDArray[np.uint8]]:
    """Return a picture (size, width, 3) RGB uint8 for each prompt and its seed, drawn with a stack of added LoRAs.

    Raises:
        InputFault: a prompt is too long, the model's family has no blocks to be weighed apart, or its pictures have no
            regions or not these.
    """
    if variant.method == "linear":
        set_lora_weights(model, variant.weights, variant.blocks)
        with folded(*networks_of(model).values()):
            return model.sample(batch.prompts, batch.negative_prompt, batch.seeds, drawing)
    with torch.no_grad():
        voices = _regional(model, variant, batch, drawing) if variant.method == "regional" else None
        voices = voices or [
            _voice(model, variant, {name: weight}, batch, drawing) for name, weight in variant.active.items()
        ]
    with _answered(model, variant, voices, drawing.grid(model.multiple)):
        return model.sample(batch.prompts, batch.negative_prompt, batch.seeds, drawing)


def _regional(model: DiffusionModel, variant: Variant, batch: Batch, drawing: Drawing) -> list[Voice]:
    """Return a voice for each region, which the region's own LoRAs and those of no region speak with.

    Raises:
        InputFault: the family edits pictures, or the regions do not fit one another.
    """
    if model.edits:
        message = f"variant {variant.name!r}: {model.keys.family} edits pictures, which have no regions: use linear"
        raise InputFault(message)
    owned = {name for region in variant.regions for name in region.loras}
    parts = parts_of([region.area for region in variant.regions], drawing.grid(model.multiple), variant.feather)
    voices = []
    for region, part in zip(variant.regions, parts, strict=True):
        weights = {name: w for name, w in variant.active.items() if name in region.loras or name not in owned}
        asked = replace(batch, prompts=[region.prompt] * len(batch.prompts))
        voices.append(replace(_voice(model, variant, weights, asked, drawing), part=part))
    return voices


def _voice(
    model: DiffusionModel, variant: Variant, weights: Mapping[str, float], batch: Batch, drawing: Drawing
) -> Voice:
    _turn_on(model, variant, weights)
    return Voice(weights, model.reading(batch.prompts, batch.negative_prompt, drawing))


def _turn_on(model: DiffusionModel, variant: Variant, weights: Mapping[str, float]) -> None:
    blocks = {name: groups for name, groups in variant.blocks.items() if name in weights}
    set_lora_weights(model, weights, blocks)


@contextmanager
def _answered(model: DiffusionModel, variant: Variant, voices: Sequence[Voice], grid: Grid) -> Iterator[None]:
    """Have each call of the denoiser answered by the voices whose turn it is: by the mean of what they say."""
    forward = model.denoiser.forward
    signature = inspect.signature(forward)
    step, last_time = -1, None

    def said(voice: Voice, call: Call) -> Any:  # noqa: ANN401  as the denoiser's own
        _turn_on(model, variant, voice.weights)
        told = voice.reading(call)
        return forward(**(told if voice.part is None else model.seen_through(told, grid, voice.part.window)))

    def answer(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        nonlocal step, last_time
        call = signature.bind(*args, **kwargs).arguments
        time = float(torch.as_tensor(call["timestep"]).flatten()[0])
        if time != last_time:  # a step may call twice: with the prompt, and without it
            step, last_time = step + 1, time
        turn = turn_of(step, variant.switch_every, len(voices))
        asked = voices[turn : turn + 1] if variant.method == "switch" else voices
        return _mean([said(voice, call) for voice in asked], [voice.part for voice in asked], grid)

    model.denoiser.forward = answer
    try:
        yield
    finally:
        del model.denoiser.forward


def turn_of(step: int, every: int, count: int) -> int:
    """Return whose turn a denoising step is, of `count` LoRAs in a fixed order; all are counted from 0. Ibid., 3.1."""
    return step // every % count


def _mean(answers: Sequence[Any], parts: Sequence[Part | None], grid: Grid) -> Any:  # noqa: ANN401  a tuple of one tensor, or diffusers' record of it
    """Return the mean of a network's outputs, in their form, each weighed by its part where it has one."""
    first = answers[0]
    placed = [part for part in parts if part is not None]
    if placed:
        mean = _joined([answer[0] for answer in answers], placed, grid)
    elif len(answers) == 1:
        return first
    else:
        mean = torch.stack([answer[0] for answer in answers]).mean(dim=0)
    return (mean,) if isinstance(first, tuple) else type(first)(sample=mean)


def _joined(answers: Sequence[torch.Tensor], parts: Sequence[Part], grid: Grid) -> torch.Tensor:
    """Return what the parts' windows say as one: latents (N, C, h, w), or tokens (N, h * w, features), as they are."""
    in_tokens = answers[0].ndim == 3  # noqa: PLR2004
    count, channels = answers[0].shape[0], answers[0].shape[-1 if in_tokens else 1]
    whole = answers[0].new_zeros((count, channels, *grid), dtype=torch.float32)
    for answer, part in zip(answers, parts, strict=True):
        shape = (count, channels, *part.weights.shape)
        cells = answer.transpose(1, 2).reshape(shape) if in_tokens else answer
        whole[:, :, *part.window] += torch.from_numpy(part.weights).to(whole.device) * cells
    joined = whole.flatten(2).transpose(1, 2) if in_tokens else whole
    return joined.to(answers[0].dtype)
