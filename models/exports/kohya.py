"""kohya's sd-scripts: pictures beside texts, the mask in the alpha channel, one strict `dataset.toml`.

The keys are those of `library/config_util.py` at commit 48d368fa (v0.10.1): an unknown one ends a training at once.
Held-out pictures are a data set of their own with `validation_split = 1.0`: kohya's reader then trains on none of it
and validates on all of it, which is the only way to give it a split of one's own (`split_train_val` in
`library/train_util.py` draws at random otherwise). It never validates on regularisation pictures.

Its buckets have sides of multiples of 64: pictures of such a bucket's size stay as they are. Those of a small
resolution's buckets would be scaled and cut anew, so each of their sizes is a data set of its own, without buckets.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.exports import ExportItem, ExportSettings
from data_contracts.faults import StageFault
from models.buckets import MOST_STEP, Size, buckets
from models.exports.config_keys import check_keys
from models.exports.groups import Group, group_items, read_group, read_text, role_of_folder, unlisted_groups, write_text
from models.exports.pixels import named_pixels, picture_size
from models.pictures import encode_png

TOML = "dataset.toml"
RGBA = 6  # the colour type in byte 25 of a PNG
DATASET_KEYS = frozenset(
    """batch_size bucket_no_upscale bucket_reso_steps enable_bucket max_bucket_reso min_bucket_reso
    validation_seed validation_split resolution network_multiplier resize_interpolation""".split()  # noqa: SIM905
)
SUBSET_KEYS = frozenset(
    """color_aug face_crop_aug_range flip_aug num_repeats random_crop shuffle_caption keep_tokens keep_tokens_separator
    secondary_separator caption_separator enable_wildcard token_warmup_min token_warmup_step caption_prefix
    caption_suffix custom_attributes resize_interpolation caption_dropout_every_n_epochs caption_dropout_rate
    caption_tag_dropout_rate caption_extension class_tokens cache_info""".split()  # noqa: SIM905
)
FOLDER_KEYS = frozenset({"image_dir", "is_reg", "alpha_mask"})
README = """\
A data set for kohya's sd-scripts. Start the trainer in this folder; its paths are relative:

  accelerate launch PATH/TO/sd-scripts/train_network.py --dataset_config dataset.toml \\
    --pretrained_model_name_or_path BASE --network_module networks.lora --output_dir OUTPUT --output_name {name}

Masks are the pictures' alpha channels (alpha_mask = true; --masked_loss is not needed).
Captions hold trigger and prefix already: set neither class_tokens nor caption_prefix.
held_out/ is validated on (validation_split = 1.0), never trained on: --validate_every_n_steps says how often.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write pictures, texts, `dataset.toml` and README."""
    groups = group_items(items)
    sizes = {item.image: picture_size(item.image) for item in items}
    listed = [group for group in groups if group.is_listed]
    batched = _batched(listed, sizes, settings.resolution)
    for group in [*(group for group in groups if group not in listed), *(each for _, part in batched for each in part)]:
        for stem, item, pixels in named_pixels(group.items):
            picture = pixels.rgb if item.mask is None else np.dstack([pixels.rgb, pixels.weight])
            write_text(folder / group.folder / f"{stem}.txt", item.caption)
            (folder / group.folder / f"{stem}.png").write_bytes(encode_png(picture))
    masked = any(item.mask for item in items)
    tree: dict[str, Any] = {"general": {"caption_extension": ".txt", "shuffle_caption": False}, "datasets": []}
    for split, more in (("train", {}), ("held_out", {"validation_split": 1.0, "validation_seed": 0})):
        for shape, part in batched:
            subsets = [_subset(group, settings, masked=masked) for group in part if group.split == split]
            if subsets:
                tree["datasets"].append({**shape, **more, "subsets": subsets})
    write_text(folder / TOML, to_toml(tree))
    write_text(folder / "README.txt", README.format(name=settings.name))


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return what kohya would train and validate on, and held-out regularisation pictures.

    Raises:
        StageFault: `dataset.toml` holds a key that kohya refuses, or names a folder or text that is missing.
    """
    tree = tomllib.loads(read_text(folder / TOML))
    check_keys(TOML, tree, {"general", "datasets"})
    check_keys(f"{TOML}, [general]", tree.get("general", {}), DATASET_KEYS | SUBSET_KEYS)
    groups = [group for dataset in tree["datasets"] for group in _groups(dataset)]
    groups += unlisted_groups(folder, [group.folder for group in groups])
    return tuple(item for group in groups for item in read_group(folder, group, _alpha))


def to_toml(tree: dict[str, Any]) -> str:
    """Return the text of a `dataset.toml`; strings, numbers, lists and truth values are alike in JSON and TOML."""

    def lines(table: dict[str, Any]) -> list[str]:
        plain = {key: value for key, value in table.items() if key != "subsets"}
        return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]

    text = ["[general]", *lines(tree["general"])]
    for dataset in tree["datasets"]:
        text += ["", "[[datasets]]", *lines(dataset)]
        for subset in dataset["subsets"]:
            text += ["", "[[datasets.subsets]]", *lines(subset)]
    return "\n".join(text) + "\n"


def _batched(
    groups: Sequence[Group], sizes: Mapping[Path, Size], resolution: int
) -> list[tuple[dict[str, Any], list[Group]]]:
    """Return for each data set how its pictures become batches, and its folders."""
    found = {sizes[item.image] for group in groups for item in group.items}
    if not _has_small_buckets(found, resolution):
        return [(_shape(found, resolution), list(groups))]
    return [
        ({"resolution": list(size), "batch_size": 1, "enable_bucket": False}, _of_size(groups, sizes, size))
        for size in sorted(found)
    ]


def _has_small_buckets(sizes: set[Size], resolution: int) -> bool:
    """Tell whether these are sizes of our buckets, and not all of them of kohya's."""
    square = (resolution, resolution)
    return (
        sizes != {square}
        and sizes <= {square, *buckets(resolution)}
        and any(side % MOST_STEP for size in sizes for side in size)
    )


def _of_size(groups: Sequence[Group], sizes: Mapping[Path, Size], size: Size) -> list[Group]:
    """Return what the groups hold of one size, in folders of their own."""
    alike = [(group, tuple(item for item in group.items if sizes[item.image] == size)) for group in groups]
    name = f"{size[0]}x{size[1]}"
    return [replace(group, folder=f"{group.folder}-{name}", items=items) for group, items in alike if items]


def _shape(sizes: set[tuple[int, int]], resolution: int) -> dict[str, Any]:
    """Return the keys for how pictures become batches: buckets only where not all are squares of the resolution.

    Without `bucket_no_upscale`: with it kohya divides by zero where a side is under a bucket step (`select_bucket`).
    """
    shape: dict[str, Any] = {"resolution": resolution, "batch_size": 1, "enable_bucket": False}
    if sizes <= {(resolution, resolution)}:
        return shape
    sides = [resolution, *(side for size in sizes for side in size)]
    return {
        **shape,
        "enable_bucket": True,
        "bucket_reso_steps": MOST_STEP,
        "min_bucket_reso": max(1, min(sides) // MOST_STEP) * MOST_STEP,  # kohya asserts min <= resolution <= max
        "max_bucket_reso": -(-max(sides) // MOST_STEP) * MOST_STEP,
    }


def _subset(group: Group, settings: ExportSettings, *, masked: bool) -> dict[str, Any]:
    """Return one folder's table; kohya wants `alpha_mask` the same in all of a batch."""
    subset: dict[str, Any] = {"image_dir": group.folder, "num_repeats": group.repeats, "flip_aug": False}
    if masked:
        subset["alpha_mask"] = True
    if group.role == "regularisation":
        return {**subset, "is_reg": True}
    return {**subset, "keep_tokens": settings.keep_tokens}


def _groups(dataset: dict[str, Any]) -> list[Group]:
    """Return one [[datasets]] table's folders, its keys checked."""
    check_keys(f"{TOML}, [[datasets]]", dataset, DATASET_KEYS | SUBSET_KEYS | {"subsets"})
    held = dataset.get("validation_split", 0.0)
    if held not in {0.0, 1.0}:
        message = f"{TOML}: validation_split = {held} lets kohya draw the split anew: 1.0 or none keeps ours"
        raise StageFault(message)
    groups = []
    for subset in dataset["subsets"]:
        check_keys(f"{TOML}, [[datasets.subsets]]", subset, SUBSET_KEYS | FOLDER_KEYS)
        role = role_of_folder(subset["image_dir"], regularises=bool(subset.get("is_reg")))
        groups.append(Group(subset["image_dir"], "held_out" if held else "train", role, subset.get("num_repeats", 1)))
    return groups


def _alpha(image: Path) -> Path | None:
    with image.open("rb") as file:
        return image if file.read(26)[-1] == RGBA else None
