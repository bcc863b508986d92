"""Cut, choose, balance and split the pictures that one LoRA learns from."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.records import Caption, Example, Frame, Layer, Plate, Rejected
from data_contracts.stages import AssembleDatasetConfig
from models.inpaint.provenance import Origin
from models.pictures import Picture, keep_picture, read_grey, read_rgb
from models.sheets import examples_sheet
from models.shots.quality import sharpness
from tasks.kohya_folder import write_kohya_folder
from tasks.stage import stage

WHITE = 255


@dataclass(frozen=True)
class Crop:
    """A caption's square of its picture, scaled, and where it counts."""

    caption: Caption
    image: Picture
    mask: Picture
    sharpness: float


@stage(Example, version=1, sheet=examples_sheet)
def assemble_dataset(
    out: Path,
    captions: Dataset[Caption],
    frames: Dataset[Frame],
    sources: Dataset[Layer] | Dataset[Plate],
    config: AssembleDatasetConfig,
) -> Iterator[Example | Rejected]:
    """Yield the sharpest crops, evenly from all kinds of picture, up to the target; hold whole shots back."""
    fit: list[Crop] = []
    for caption in captions:
        scale = config.resolution / (caption.box[2] - caption.box[0])
        if scale > config.max_upscale:
            yield Rejected(id=caption.id, reason="too_small", value=scale)
            continue
        crop = cut(caption, frames, sources, config.resolution)
        if crop.sharpness < config.min_sharpness:
            yield Rejected(id=caption.id, reason="blurred", value=crop.sharpness)
            continue
        fit.append(crop)
    chosen = balanced(fit, config.target)
    taken = {crop.caption.id for crop in chosen}
    for crop in fit:
        if crop.caption.id not in taken:
            yield Rejected(id=crop.caption.id, reason="beyond_target", value=crop.sharpness)
    held_out = shots_to_hold_out([crop.caption.shot for crop in chosen], config.held_out_share)
    examples = [example_of(out, crop, config, held_out=crop.caption.shot in held_out) for crop in chosen]
    write_kohya_folder(out, examples, config)
    yield from examples


def cut(caption: Caption, frames: Dataset[Frame], sources: Dataset[Layer] | Dataset[Plate], resolution: int) -> Crop:
    """Cut a caption's square out of its frame or plate, with the mask of what may be learnt from it."""
    source = sources.by_id[caption.source_id]
    if isinstance(source, Plate):
        picture = read_rgb(sources.path(source.image))
        known = read_grey(sources.path(source.provenance)) != Origin.NETWORK
        mask: Picture = np.where(known, WHITE, 0).astype(np.uint8)
    else:
        picture = read_rgb(frames.path(frames.by_id[source.frame_id].image))
        mask = read_grey(sources.path(source.mask))
    image, weight = scaled(picture, caption, resolution), scaled(mask, caption, resolution)
    return Crop(caption, image, weight, round(sharpness(image, weight), 3))


def scaled(picture: Picture, caption: Caption, resolution: int) -> Picture:
    """Return the caption's square as `(resolution, resolution)` pixels."""
    x0, y0, x1, y1 = (round(edge) for edge in caption.box)
    square = picture[y0:y1, x0:x1]
    method = cv2.INTER_AREA if square.shape[0] >= resolution else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (resolution, resolution), interpolation=method), np.uint8)


def balanced(crops: list[Crop], target: int) -> list[Crop]:
    """Return up to `target` crops: the sharpest of each group first, then each group's second, and so on."""
    groups: Mapping[str, list[Crop]] = defaultdict(list)
    for crop in crops:
        groups[crop.caption.group].append(crop)
    ranked = [sorted(group, key=lambda c: (-c.sharpness, c.caption.id)) for _, group in sorted(groups.items())]
    taken = [crop for rank in zip_longest(*ranked) for crop in rank if crop is not None][:target]
    return sorted(taken, key=lambda crop: crop.caption.id)


def shots_to_hold_out(shots: list[str], share: float) -> set[str]:
    """Return the smallest shots that together hold at most `share` of the pictures; at least two stay for training."""
    counts = {shot: shots.count(shot) for shot in sorted(set(shots))}
    held: set[str] = set()
    for shot in sorted(counts, key=lambda s: (counts[s], s)):
        if sum(counts[s] for s in held) + counts[shot] > share * len(shots) or len(counts) - len(held) <= 2:  # noqa: PLR2004
            break
        held.add(shot)
    return held


def example_of(out: Path, crop: Crop, config: AssembleDatasetConfig, *, held_out: bool) -> Example:
    """Write a crop and its mask; return the row."""
    caption = crop.caption
    return Example(
        id=f"{caption.id}:example",
        **caption.moment(),
        source_id=caption.source_id,
        image=keep_picture(out, crop.image),
        mask=keep_picture(out, crop.mask),
        caption=caption.text,
        repeats=config.repeats,
        split="held_out" if held_out else "train",
        sharpness=crop.sharpness,
    )
