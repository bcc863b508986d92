"""SimpleTuner: folders of pictures beside texts, masks as a conditioning data set, and `multidatabackend.json`.

The keys are those of its `documentation/DATALOADER.md` and `DREAMBOOTH.md`. Its `repeats` counts from 0, one less than
everybody else's. Every picture of a data set with masks needs one. `is_regularisation_data` keeps the base model's
prediction, and works with LyCORIS adapters alone: with a plain LoRA such pictures are trained on like any other.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_contracts.exports import ExportItem, ExportSettings, Split
from models.exports.config_keys import check_keys
from models.exports.groups import Group, group_items, read_text, role_of_folder, unlisted_groups, write_text
from models.exports.masks_folder import has_masks, masks_of, read_pictures, write_pictures

BACKENDS = "multidatabackend.json"
KEYS = frozenset(
    """id type dataset_type disabled default instance_data_dir cache_dir cache_dir_vae caption_strategy
    disable_multiline_split metadata_backend crop crop_style crop_aspect resolution resolution_type minimum_image_size
    maximum_image_size target_downsample_size minimum_aspect_ratio maximum_aspect_ratio prepend_instance_prompt
    only_instance_prompt instance_prompt repeats conditioning_data conditioning_type source_dataset_id
    is_regularisation_data probability text_embeds image_embeds""".split()  # noqa: SIM905
)
README = """\
A data set for SimpleTuner. Its paths are relative: put your config.json here, with
"data_backend_config": "multidatabackend.json", and start it in this folder:

  simpletuner train

Masks are the conditioning data sets: white parts count. Captions hold the trigger already: set no instance prompt.
held_out/ is a data set of type eval: --eval_steps_interval says how often its loss is measured.
Regularisation pictures keep what the base model predicts with a LyCORIS adapter only; for a plain LoRA set
"disabled": true there, or let them be trained on as they are captioned, without trigger.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write pictures, texts, masks, `multidatabackend.json` and README."""
    groups = group_items(items)
    write_pictures(folder, groups)
    entries: list[dict[str, Any]] = []
    for group in groups:
        if group.is_listed:
            entries += _entries(folder, group, settings, masked=has_masks(groups) and group.split == "train")
    words = {"id": f"{settings.name}-text", "type": "local", "dataset_type": "text_embeds", "default": True}
    entries.append({**words, "cache_dir": f"cache/text/{settings.name}"})
    write_text(folder / BACKENDS, json.dumps(entries, indent=1) + "\n")
    write_text(folder / "README.txt", README)


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return what SimpleTuner would train and evaluate on, and held-out regularisation pictures.

    Raises:
        StageFault: `multidatabackend.json` holds an unknown key, or names a folder or text that is missing.
    """
    groups = []
    for entry in json.loads(read_text(folder / BACKENDS)):
        check_keys(BACKENDS, entry, KEYS)
        if entry["dataset_type"] in {"image", "eval"}:
            role = role_of_folder(entry["instance_data_dir"], regularises=bool(entry.get("is_regularisation_data")))
            split: Split = "held_out" if entry["dataset_type"] == "eval" else "train"
            groups.append(Group(entry["instance_data_dir"], split, role, entry["repeats"] + 1))
    groups += unlisted_groups(folder, [group.folder for group in groups])
    return tuple(item for group in groups for item in read_pictures(folder, group))


def _entries(folder: Path, group: Group, settings: ExportSettings, *, masked: bool) -> list[dict[str, Any]]:
    """Return the data set of a folder and, where it is masked, that of its masks."""
    name = f"{settings.name}-{group.folder.replace('_', '-')}"
    shape = {"crop": False, "resolution": settings.resolution, "resolution_type": "pixel_area"}
    pictures: dict[str, Any] = {
        "id": name,
        "type": "local",
        "dataset_type": "image" if group.split == "train" else "eval",
        "instance_data_dir": group.folder,
        "cache_dir_vae": f"cache/vae/{name}",
        "caption_strategy": "textfile",
        "metadata_backend": "discovery",
        "repeats": group.repeats - 1,
        **shape,
    }
    if group.role == "regularisation":
        pictures["is_regularisation_data"] = True
    if not masked:
        return [pictures]
    masks = {
        "id": f"{name}-masks",
        "type": "local",
        "dataset_type": "conditioning",
        "conditioning_type": "mask",
        "source_dataset_id": name,
        "instance_data_dir": masks_of(folder, group).relative_to(folder).as_posix(),
        **shape,
    }
    return [{**pictures, "conditioning_data": masks["id"]}, masks]
