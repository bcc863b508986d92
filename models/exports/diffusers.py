"""diffusers' training scripts and `datasets`' ImageFolder: a folder a split, with `metadata.jsonl` beside the pictures.

ImageFolder reads `file_name` as the column `image` and `mask_file_name` as the column `mask`; a folder called
`validation` is the split of that name (huggingface.co/docs/datasets, "Create an image dataset"). diffusers' scripts
know neither masks nor repeats of a single picture: those columns are for whoever writes a script.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from data_contracts.exports import ExportItem, ExportSettings, Split, checked_item
from data_contracts.faults import StageFault
from models.exports.config_keys import check_keys
from models.exports.groups import read_text, write_text
from models.exports.pixels import Pixels, named_pixels
from models.pictures import encode_png

METADATA = "metadata.jsonl"
FOLDERS: dict[Split, str] = {"train": "train", "held_out": "validation"}
COLUMNS = frozenset({"file_name", "mask_file_name", "text", "repeats", "role"})
README = """\
A data set for diffusers' training scripts and for `datasets.load_dataset("imagefolder", data_dir=".")`. In this folder:

  accelerate launch PATH/TO/diffusers/examples/text_to_image/train_text_to_image_lora.py --train_data_dir train \\
    --image_column image --caption_column text --resolution {resolution} --pretrained_model_name_or_path BASE

--train_data_dir is train, not this folder: the script would take validation/ for training pictures too.
The column mask is the weight of the loss and repeats how often a picture is meant to be seen in an epoch; the script
uses neither: multiply its epochs. It trains squares: of a picture that is none it takes a random one, which may miss
what the caption says; --center_crop takes the middle.
Rows whose role is regularisation show others than the subject, without trigger.
Rows whose role is inhabited show the place with people, whom the masks leave out.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write pictures, masks, a `metadata.jsonl` a split and README."""
    masked = any(item.mask for item in items)
    for split in get_args(Split):
        rows = [
            _write_row(folder / FOLDERS[split], stem, item, pixels, masked=masked)
            for stem, item, pixels in named_pixels(item for item in items if item.split == split)
        ]
        if rows:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_text(folder / FOLDERS[split] / METADATA, text)
    write_text(folder / "README.txt", README.format(resolution=settings.resolution))


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return the rows of both splits.

    Raises:
        StageFault: a row has an unknown column or names a file that is missing.
    """
    return tuple(
        item
        for split in get_args(Split)
        if split == "train" or (folder / FOLDERS[split]).is_dir()
        for item in _read_split(folder / FOLDERS[split], split)
    )


def _write_row(folder: Path, stem: str, item: ExportItem, pixels: Pixels, *, masked: bool) -> dict[str, Any]:
    """Write a picture and its mask; return its row. All rows have the same columns."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.png").write_bytes(encode_png(pixels.rgb))
    row: dict[str, Any] = {"file_name": f"{stem}.png"}
    if masked:
        (folder / "masks" / f"{stem}.png").write_bytes(encode_png(pixels.weight))
        row["mask_file_name"] = f"masks/{stem}.png"
    return {**row, "text": item.caption, "repeats": item.repeats, "role": item.role}


def _read_split(folder: Path, split: Split) -> Iterator[ExportItem]:
    for line in read_text(folder / METADATA).split("\n")[:-1]:
        row = json.loads(line)
        check_keys(f"{folder.name}/{METADATA}", row, COLUMNS)
        files = [folder / row[key] for key in ("file_name", "mask_file_name") if key in row]
        for file in files:
            if not file.is_file():
                message = f"{folder.name}/{METADATA} names {file.name}, which is not there: export again"
                raise StageFault(message)
        fields = {"caption": row["text"], "repeats": row["repeats"], "split": split, "role": row["role"]}
        masks = {"image": files[0], "mask": files[1] if files[1:] else None}
        yield checked_item(f"{folder.name}/{row['file_name']}", {**fields, **masks})
