"""What a training step sees: pictures and captions as the networks read them, drawn by counting."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from data_contracts.faults import InputFault
from data_contracts.training import TrainExample, TrainSettings
from models.child import Stopped, stop_requested
from models.diffusion.families import Conditioning, DiffusionModel, Objective, View
from models.pictures import Picture, read_grey, read_rgb
from models.seeds import seeded_generator

LATENT_STRIDE = 8


@dataclass(frozen=True)
class Prepared:
    """The examples as latents (N, C, h, w) and, where the loss is masked, masks (N, 1, h, w) in 0..1, on the CPU.

    described: what the denoiser is told of each besides its caption.
    """

    examples: Sequence[TrainExample]
    latents: torch.Tensor
    masks: torch.Tensor | None
    views: Sequence[View]
    described: Sequence[Conditioning]


@dataclass(frozen=True)
class Draw:
    """One batch: which examples, and how each is disturbed."""

    indices: list[int]
    timesteps: torch.Tensor  # (N,) as the objective draws them
    noise: torch.Tensor  # (N, C, h, w)
    offsets: torch.Tensor  # (N, C, 1, 1)
    captions: list[str]  # "" where the caption is dropped


def prepare(model: DiffusionModel, examples: Sequence[TrainExample], settings: TrainSettings) -> Prepared:
    """Read, crop and encode all examples; the errors that would surface hours later surface here.

    Raises:
        InputFault: a picture cannot be read or encoded, a mask is empty or of another size, a control picture is
            missing or too many, or the base model cannot be trained at this resolution.
        Stopped: SIGTERM came meanwhile.
    """
    if settings.resolution % model.multiple:
        message = f"resolution {settings.resolution} is no multiple of {model.multiple}, as {model.keys.family} needs"
        raise InputFault(message)
    latents: list[torch.Tensor] = []
    masks: list[torch.Tensor] = []
    views: list[View] = []
    for example in examples:
        if stop_requested():
            message = f"stopped while preparing {example.image.name}; nothing was trained yet"
            raise Stopped(message)
        picture = _read_picture(example)
        square = _centre_square(picture, settings.resolution)
        pixels = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1
        latents.append(model.encode_images(pixels))
        if not latents[-1].isfinite().all():
            message = f"{example.image}: the base model's encoder gives no finite latents for it"
            raise InputFault(message)
        if settings.masked_loss:
            masks.append(_read_mask(example, picture.shape[:2], settings.resolution))
        views.append(_view(picture, settings.resolution, _read_control(example, model, settings.resolution)))
    described = [{name: value.cpu() for name, value in model.describe([view]).items()} for view in views]
    return Prepared(examples, torch.cat(latents), torch.cat(masks) if masks else None, views, described)


def draw(prepared: Prepared, settings: TrainSettings, batch_number: int, objective: Objective) -> Draw:
    """Return batch `batch_number`, counted from 0 over the whole run.

    All that is random comes from (seed, position in the run), never from a generator's carried state: a resumed run
    sees what the uninterrupted one saw. Each pass shows every example as often as its repeats, in a new order.
    """
    slots = [index for index, example in enumerate(prepared.examples) for _ in range(example.repeats)]
    shape = prepared.latents.shape[1:]
    indices, times, noise, offsets, captions = [], [], [], [], []
    for position in range(batch_number * settings.batch, (batch_number + 1) * settings.batch):
        order = seeded_generator(settings.seed, "order", position // len(slots))
        index = slots[int(torch.randperm(len(slots), generator=order)[position % len(slots)])]
        generator = seeded_generator(settings.seed, "example", position)
        indices.append(index)
        times.append(objective.draw_timestep(generator))
        noise.append(torch.randn(shape, generator=generator))
        offsets.append(torch.randn((shape[0], 1, 1), generator=generator))
        dropped = float(torch.rand((), generator=generator)) < settings.caption_dropout
        captions.append("" if dropped else prepared.examples[index].caption)
    return Draw(indices, torch.cat(times), torch.stack(noise), torch.stack(offsets), captions)


def _read_picture(example: TrainExample) -> Picture:
    try:
        return read_rgb(example.image)
    except ValueError as error:
        message = f"example {example.image}: {error}"
        raise InputFault(message) from error


def _read_mask(example: TrainExample, shape: tuple[int, ...], resolution: int) -> torch.Tensor:
    """Return the mask (1, 1, h, w) in 0..1 at the latents' size."""
    if example.mask is None:
        message = f"masked_loss is on, but {example.image} has no mask: give one, or turn masked_loss off"
        raise InputFault(message)
    try:
        mask = read_grey(example.mask)
    except ValueError as error:
        message = f"mask {example.mask}: {error}"
        raise InputFault(message) from error
    if mask.shape != shape:
        message = f"mask {example.mask} is {mask.shape}, its picture {shape} (height, width): they must be equal"
        raise InputFault(message)
    side = resolution // LATENT_STRIDE
    small = cv2.resize(_centre_square(mask, resolution), (side, side), interpolation=cv2.INTER_AREA)
    if not small.any():
        message = f"mask {example.mask} shows nothing in the centre square: nothing of {example.image} would be learnt"
        raise InputFault(message)
    return torch.from_numpy(small)[None, None].float() / 255


def _read_control(example: TrainExample, model: DiffusionModel, side: int) -> Picture | None:
    """Return the centre square of what was edited into the example; None where the family does not edit."""
    if model.edits != (example.control is not None):
        has = "has no control picture" if model.edits else "has a control picture"
        does = "edits pictures: give what was edited" if model.edits else "does not edit pictures: leave it out"
        message = f"{example.image} {has}, but {model.keys.family} {does}"
        raise InputFault(message)
    if example.control is None:
        return None
    try:
        return _centre_square(read_rgb(example.control), side)
    except ValueError as error:
        message = f"control picture {example.control}: {error}"
        raise InputFault(message) from error


def _view(picture: Picture, side: int, control: Picture | None) -> View:
    """Return what of a picture `_centre_square` shows."""
    height, width = picture.shape[:2]
    short = min(height, width)
    crop = round((height - short) // 2 * side / short), round((width - short) // 2 * side / short)
    return View((height, width), crop, side, control)


def _centre_square(picture: Picture, side: int) -> Picture:
    """Return the centre square of a picture, `side` pixels wide."""
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(picture[top : top + short, left : left + short])
    if short == side:
        return square
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how), np.uint8)
