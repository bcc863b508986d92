"""ostris' ai-toolkit: folders of pictures beside texts, masks of the same name, and the `datasets:` part of a job.

The keys are those of `DatasetConfig` in its `toolkit/config_modules.py`, which takes unknown ones in silence. Folders
are walked with all below them, so masks lie outside. It knows no validation set: held-out pictures are not listed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from data_contracts.exports import ExportItem, ExportSettings
from models.exports.config_keys import check_keys
from models.exports.groups import Group, group_items, read_text, role_of_folder, unlisted_groups, write_text
from models.exports.masks_folder import has_masks, masks_of, read_pictures, write_pictures

YAML = "datasets.yaml"
KEYS = frozenset(
    """folder_path mask_path alpha_mask invert_mask mask_min_value control_path full_size_control_images caption_ext
    caption_dropout_rate default_caption trigger_word keep_tokens token_dropout_rate shuffle_tokens resolution buckets
    bucket_tolerance square_crop random_crop random_scale scale is_reg prior_reg num_repeats network_weight
    loss_multiplier flip_x flip_y cache_latents cache_latents_to_disk cache_text_embeddings""".split()  # noqa: SIM905
)
README = """\
A data set for ai-toolkit. Copy the entries below `datasets:` of datasets.yaml into config.process[0].datasets of your
job file; their paths are relative, so put the job file here and start it in this folder:

  python PATH/TO/ai-toolkit/run.py job.yaml

Captions hold the trigger already: set no trigger_word. White parts of a mask count, black ones do not.
held_out/ is not listed: ai-toolkit has no validation set, and these pictures must not be trained on.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write pictures, texts, masks, `datasets.yaml` and README."""
    groups = group_items(items)
    write_pictures(folder, groups)
    entries = [entry(folder, group, settings, masked=has_masks(groups)) for group in groups if group.split == "train"]
    write_entries(folder, entries)
    write_text(folder / "README.txt", README)


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return what ai-toolkit would train on, and the held-out pictures.

    Raises:
        StageFault: `datasets.yaml` holds an unknown key, or names a folder or text that is missing.
    """
    return tuple(item for group in read_entries(folder) for item in read_pictures(folder, group))


def entry(folder: Path, group: Group, settings: ExportSettings, *, masked: bool) -> dict[str, Any]:
    """Return one folder's entry of `datasets:`."""
    keys: dict[str, Any] = {
        "folder_path": group.folder,
        "caption_ext": "txt",
        "resolution": [settings.resolution],
        "num_repeats": group.repeats,
        "shuffle_tokens": False,
        "flip_x": False,
    }
    if masked:
        keys["mask_path"] = masks_of(folder, group).relative_to(folder).as_posix()
    if group.role == "regularisation":
        return {**keys, "is_reg": True}
    return {**keys, "keep_tokens": settings.keep_tokens}


def write_entries(folder: Path, entries: list[dict[str, Any]]) -> None:
    """Write `datasets.yaml`."""
    text = yaml.safe_dump({"datasets": entries}, sort_keys=False, allow_unicode=True)
    write_text(folder / YAML, text)


def read_entries(folder: Path) -> list[Group]:
    """Return the folders that `datasets.yaml` lists, its keys checked, and those of held-out pictures."""
    groups = []
    for keys in yaml.safe_load(read_text(folder / YAML))["datasets"]:
        check_keys(YAML, keys, KEYS)
        role = role_of_folder(keys["folder_path"], regularises=bool(keys.get("is_reg")))
        groups.append(Group(keys["folder_path"], "train", role, keys["num_repeats"]))
    return [*groups, *unlisted_groups(folder, [group.folder for group in groups])]
