"""The same data set as kohya's sd-scripts wants it: pictures beside texts, masks in the alpha channel, one TOML."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_contracts.records import Example
from data_contracts.stages import AssembleDatasetConfig
from models.pictures import encode_png, read_grey, read_rgb

DATASET_TOML = """\
# train_network.py --dataset_config dataset.toml ; run it in this folder
[general]
caption_extension = ".txt"
keep_tokens = 1

[[datasets]]
resolution = {resolution}
batch_size = 1
enable_bucket = false

[[datasets.subsets]]
image_dir = "train"
num_repeats = {repeats}
alpha_mask = true
flip_aug = false
"""


def write_kohya_folder(files: Path, examples: Sequence[Example], config: AssembleDatasetConfig) -> Path:
    """Write `kohya/` beside `files`; names carry the pictures' content, so that no trainer's cache goes stale."""
    folder = files.parent / "kohya"
    beside = files.parent / "kohya.part"
    for old in (beside, folder):
        shutil.rmtree(old, ignore_errors=True)
    for example in examples:
        subset = beside / example.split
        subset.mkdir(parents=True, exist_ok=True)
        rgb, mask = read_rgb(files / example.image), read_grey(files / str(example.mask))
        stem = f"{Path(example.image).stem}-{Path(str(example.mask)).stem[:8]}"
        (subset / f"{stem}.png").write_bytes(encode_png(np.dstack([rgb, mask])))
        (subset / f"{stem}.txt").write_text(example.caption + "\n", encoding="utf-8")
    text = DATASET_TOML.format(resolution=config.resolution, repeats=config.repeats)
    (beside / "dataset.toml").write_text(text, encoding="utf-8")
    beside.replace(folder)
    return folder
