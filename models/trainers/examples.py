"""What a training step sees: pictures and captions as the networks read them, drawn by counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from data_contracts.faults import InputFault
from data_contracts.training import TrainExample, TrainSettings
from models.buckets import Size, buckets, nearest_bucket
from models.child import Stopped, stop_requested
from models.diffusion.families import Conditioning, DiffusionModel, Objective, View
from models.pictures import Picture, read_grey, read_rgb
from models.seeds import seeded_generator
from models.trainers.captions import caption_forms
from models.trainers.order import Slots, batch_of, slots_of

LATENT_STRIDE = 8


@dataclass(frozen=True)
class Prepared:
    """The examples as latents (C, h, w) and, where the loss is masked, masks (1, h, w) in 0..1, on the CPU.

    captions: the forms in which the caption of each is shown.
    described: what the denoiser is told of each besides.
    """

    examples: Sequence[TrainExample]
    captions: Sequence[Sequence[str]]
    latents: Sequence[torch.Tensor]
    masks: Sequence[torch.Tensor] | None
    views: Sequence[View]
    described: Sequence[Conditioning]

    @cached_property
    def slots(self) -> Slots:
        """The slots of a pass, by the examples' shapes and repeats; see `order`."""
        return slots_of([tuple(each.shape) for each in self.latents], [each.repeats for each in self.examples])

    def latents_of(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the latents (n, C, h, w) of n examples of one shape."""
        return torch.stack([self.latents[index] for index in indices])

    def masks_of(self, indices: Sequence[int]) -> torch.Tensor | None:
        """Return the masks (n, 1, h, w) of n examples of one shape, where the loss is masked."""
        return None if self.masks is None else torch.stack([self.masks[index] for index in indices])


@dataclass(frozen=True)
class Cut:
    """What is seen of an example, at the size that is trained: picture (H, W, 3), mask (H, W) where the loss is masked.

    shape: height and width of the whole picture in pixels.
    """

    picture: Picture
    mask: Picture | None
    shape: tuple[int, int]

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.picture.shape[1], self.picture.shape[0]


@dataclass(frozen=True)
class Draw:
    """One batch: which examples, and how each is disturbed."""

    indices: list[int]
    timesteps: torch.Tensor  # (N,) as the objective draws them
    noise: torch.Tensor  # (N, C, h, w)
    offsets: torch.Tensor  # (N, C, 1, 1)
    captions: list[str]  # "" where the caption is dropped


def prepare(
    model: DiffusionModel, examples: Sequence[TrainExample], settings: TrainSettings, *, keep_tokens: int = 1
) -> Prepared:
    """Read, crop and encode all examples; the errors that would surface hours later surface here.

    keep_tokens: how many of a caption's parts, from the first on, are never left out.

    Raises:
        InputFault: a picture cannot be read or encoded, a mask is empty or of another size, a control picture is
            missing or too many, or the base model cannot be trained at this resolution.
        Stopped: SIGTERM came meanwhile.
    """
    if settings.resolution % model.multiple:
        message = f"resolution {settings.resolution} is no multiple of {model.multiple}, as {model.keys.family} needs"
        raise InputFault(message)
    sizes = sizes_of(settings, model.multiple)
    latents: list[torch.Tensor] = []
    masks: list[torch.Tensor] = []
    views: list[View] = []
    for example in examples:
        if stop_requested():
            message = f"stopped while preparing {example.image.name}; nothing was trained yet"
            raise Stopped(message)
        seen = cut(example, sizes, masked=settings.masked_loss)
        pixels = torch.from_numpy(seen.picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        latents.append(model.encode_images(pixels)[0])
        if not latents[-1].isfinite().all():
            message = f"{example.image}: the base model's encoder gives no finite latents for it"
            raise InputFault(message)
        if seen.mask is not None:
            masks.append(_latent_mask(seen.mask, example))
        views.append(_view(seen.shape, seen.size, _read_control(example, model, seen.size)))
    described = [{name: value.cpu() for name, value in model.describe([view]).items()} for view in views]
    captions = [
        caption_forms(
            example.caption,
            settings.caption_tag_dropout,
            seeded_generator(settings.seed, "caption", place),
            keep_tokens=keep_tokens,
        )
        for place, example in enumerate(examples)
    ]
    return Prepared(examples, captions, latents, masks or None, views, described)


def draw(prepared: Prepared, settings: TrainSettings, batch_number: int, objective: Objective) -> Draw:
    """Return batch `batch_number`, counted from 0 over the whole run.

    All that is random comes from (seed, position in the run), never from a generator's carried state: a resumed run
    sees what the uninterrupted one saw.
    """
    indices = batch_of(prepared.slots, settings.batch, batch_number, settings.seed)
    times, noise, offsets, captions = [], [], [], []
    for position, index in enumerate(indices, start=batch_number * settings.batch):
        generator = seeded_generator(settings.seed, "example", position)
        shape = prepared.latents[index].shape
        times.append(objective.draw_timestep(generator))
        noise.append(torch.randn(shape, generator=generator))
        offsets.append(torch.randn((shape[0], 1, 1), generator=generator))
        dropped = float(torch.rand((), generator=generator)) < settings.caption_dropout
        forms = prepared.captions[index]
        form = int(torch.randint(len(forms), (), generator=generator))
        captions.append("" if dropped else forms[form])
    return Draw(indices, torch.cat(times), torch.stack(noise), torch.stack(offsets), captions)


def sizes_of(settings: TrainSettings, multiple: int) -> tuple[Size, ...]:
    """Return the sizes that pictures are cut to: the resolution's square, or its buckets.

    multiple: what the base model's family needs sides to be multiples of.
    """
    square = (settings.resolution, settings.resolution)
    return buckets(settings.resolution, multiple) if settings.buckets else (square,)


def cut(example: TrainExample, sizes: Sequence[Size], *, masked: bool) -> Cut:
    """Return what a trainer sees of an example: the centre of the nearest size's shape, scaled to that size.

    Raises:
        InputFault: picture or mask cannot be read, the mask is missing or of another size.
    """
    try:
        picture = read_rgb(example.image)
    except ValueError as error:
        message = f"example {example.image}: {error}"
        raise InputFault(message) from error
    shape = picture.shape[0], picture.shape[1]
    size = nearest_bucket(shape[1], shape[0], sizes)
    mask = covering(_read_mask(example, shape), size) if masked else None
    return Cut(covering(picture, size), mask, shape)


def _read_mask(example: TrainExample, shape: tuple[int, int]) -> Picture:
    """Return the mask (H, W), of the same shape as its picture."""
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
    return mask


def _latent_mask(mask: Picture, example: TrainExample) -> torch.Tensor:
    """Return the mask (1, h, w) in 0..1 at the latents' size."""
    height, width = mask.shape
    small = cv2.resize(mask, (width // LATENT_STRIDE, height // LATENT_STRIDE), interpolation=cv2.INTER_AREA)
    if not small.any():
        part = f"the centre of {width}x{height} pixels"
        message = f"mask {example.mask} shows nothing in {part}: nothing of {example.image} would be learnt"
        raise InputFault(message)
    return torch.from_numpy(small)[None].float() / 255


def _read_control(example: TrainExample, model: DiffusionModel, size: Size) -> Picture | None:
    """Return what was edited into the example, covering `size`; None where the family does not edit."""
    if model.edits != (example.control is not None):
        has = "has no control picture" if model.edits else "has a control picture"
        does = "edits pictures: give what was edited" if model.edits else "does not edit pictures: leave it out"
        message = f"{example.image} {has}, but {model.keys.family} {does}"
        raise InputFault(message)
    if example.control is None:
        return None
    try:
        return covering(read_rgb(example.control), size)
    except ValueError as error:
        message = f"control picture {example.control}: {error}"
        raise InputFault(message) from error


def covering(picture: Picture, size: Size) -> Picture:
    """Return a picture scaled to cover `size`, its centre, `(height, width, …)` uint8."""
    top, left, height, width = _seen(picture.shape[:2], size)
    seen = np.ascontiguousarray(picture[top : top + height, left : left + width])
    if (width, height) == size:
        return seen
    how = cv2.INTER_AREA if width > size[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(seen, size, interpolation=how), np.uint8)


def _view(shape: tuple[int, int], size: Size, control: Picture | None) -> View:
    """Return what `covering` shows of a picture of this shape."""
    top, left, height, width = _seen(shape, size)
    crop = round(top * size[1] / height), round(left * size[0] / width)
    return View(shape, crop, (size[1], size[0]), control)


def _seen(shape: tuple[int, ...], size: Size) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the centre of a picture, the largest part that has the shape of `size`."""
    height, width = shape
    scale = max(size[0] / width, size[1] / height)
    high, wide = min(height, round(size[1] / scale)), min(width, round(size[0] / scale))
    return (height - high) // 2, (width - wide) // 2, high, wide
