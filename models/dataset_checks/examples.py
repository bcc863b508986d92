"""What a trainer is about to learn from, checked in the moment before it starts."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_contracts.check_faults import Fault, ordered
from data_contracts.training import TrainExample, TrainSettings
from models.dataset_checks.rules import fault
from models.pictures import read_grey, read_rgb

MOST_CUT = 1.25
"""Longer side by the shorter: of what is longer, more than a fifth is cut off where squares are trained."""


def check_examples(examples: Sequence[TrainExample], settings: TrainSettings) -> list[Fault]:
    """Return what would stop a training of these examples, or teach it something wrong, each once.

    Each picture is decoded, keeps its ends, has a caption and, where the loss is masked, a mask of its size that shows
    something.
    """
    if not examples:
        return [fault("examples", "no_pictures", "there are none")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda example: list(_faults_of(example, settings)), examples)
        return ordered(each for faults in found for each in faults)


def _faults_of(example: TrainExample, settings: TrainSettings) -> Iterator[Fault]:
    name = example.image.name
    if not example.caption.strip():
        yield fault(name, "empty_caption", "its caption is empty")
    size: tuple[int, ...] | None = None
    try:
        size = read_rgb(example.image).shape[:2]
    except (ValueError, OSError) as error:
        yield fault(name, "undecodable", str(error).removeprefix(f"{name}: "))
    if size is not None and not settings.buckets and max(size) > MOST_CUT * min(size):
        yield fault(name, "cut_to_square", f"it is {size[1]}x{size[0]} pixels, and train.buckets is off")
    if settings.masked_loss:
        yield from _mask_faults(name, example.mask, size)


def _mask_faults(name: str, path: Path | None, size: tuple[int, ...] | None) -> Iterator[Fault]:
    if path is None:
        yield fault(name, "missing_mask", "it has no mask, and masked_loss is on")
        return
    try:
        mask = read_grey(path)
    except (ValueError, OSError) as error:
        yield fault(path.name, "mask_undecodable", str(error).removeprefix(f"{path.name}: "))
        return
    if size is not None and mask.shape != size:
        shapes = f"it is {mask.shape[1]}x{mask.shape[0]}, its picture {size[1]}x{size[0]} pixels"
        yield fault(path.name, "mask_size", shapes)
    if not mask.any():
        yield fault(path.name, "mask_black", f"it is black all over, the mask of {name}")
