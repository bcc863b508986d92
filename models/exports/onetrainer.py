"""OneTrainer: folders of pictures beside texts and `-masklabel.png` masks, and `concepts.json`.

The keys are those of its `modules/util/config/ConceptConfig.py`, version 2. What the file leaves out takes
OneTrainer's defaults, and its seed is drawn anew at each start, so everything that changes a training is written down.
Regularisation is a concept of type PRIOR_PREDICTION: what the base model predicts there shall stay.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_contracts.exports import ExportItem, ExportSettings, Split
from models.exports.config_keys import check_keys
from models.exports.groups import (
    MASK_LABEL,
    Group,
    group_items,
    read_group,
    read_text,
    role_of_folder,
    unlisted_groups,
    write_text,
)
from models.exports.pixels import named_pixels
from models.pictures import encode_png

CONCEPTS = "concepts.json"
KEYS = frozenset(
    """__version name path seed enabled type validation_concept include_subdirectories image_variations text_variations
    balancing balancing_strategy loss_weight image text concept_stats""".split()  # noqa: SIM905
)
IMAGE_KEYS = frozenset(
    """__version enable_crop_jitter enable_random_flip enable_fixed_flip enable_random_rotate enable_fixed_rotate
    random_rotate_max_angle enable_random_brightness enable_fixed_brightness random_brightness_max_strength
    enable_random_contrast enable_fixed_contrast random_contrast_max_strength enable_random_saturation
    enable_fixed_saturation random_saturation_max_strength enable_random_hue enable_fixed_hue random_hue_max_strength
    enable_resolution_override resolution_override enable_random_circular_mask_shrink
    enable_random_mask_rotate_crop""".split()  # noqa: SIM905
)
TEXT_KEYS = frozenset(
    """__version prompt_source prompt_path enable_tag_shuffling tag_delimiter keep_tags_count tag_dropout_enable
    tag_dropout_mode tag_dropout_probability tag_dropout_special_tags_mode tag_dropout_special_tags
    tag_dropout_special_tags_regex caps_randomize_enable caps_randomize_probability caps_randomize_mode
    caps_randomize_lowercase""".split()  # noqa: SIM905
)
README = """\
A data set for OneTrainer. The concepts' paths are relative: start the trainer in this folder, with
"concept_file_name": "concepts.json" in your configuration:

  python PATH/TO/OneTrainer/scripts/train.py --config-path CONFIG.json

In its window, load concepts.json and choose each concept's folder anew.
Masks are the files that end in -masklabel.png: switch masked training on, with "unmasked_weight" 0.1 or so.
held_out/ is a concept of type VALIDATION: switch validation on to see its loss; it is never trained on.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write pictures, texts, masks, `concepts.json` and README."""
    groups = group_items(items)
    masked = any(item.mask for item in items)
    for group in groups:
        for stem, item, pixels in named_pixels(group.items):
            write_text(folder / group.folder / f"{stem}.txt", item.caption)
            (folder / group.folder / f"{stem}.png").write_bytes(encode_png(pixels.rgb))
            if masked:
                (folder / group.folder / f"{stem}{MASK_LABEL}.png").write_bytes(encode_png(pixels.weight))
    listed = [group for group in groups if group.is_listed]
    concepts = [_concept(group, settings) for group in listed]
    write_text(folder / CONCEPTS, json.dumps(concepts, indent=1) + "\n")
    write_text(folder / "README.txt", README)


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return what OneTrainer would train and validate on, and held-out regularisation pictures.

    Raises:
        StageFault: `concepts.json` holds an unknown key, or names a folder or text that is missing.
    """
    groups = [_group(concept) for concept in json.loads(read_text(folder / CONCEPTS))]
    groups += unlisted_groups(folder, [group.folder for group in groups])
    return tuple(item for group in groups for item in read_group(folder, group, _mask_label))


def _concept(group: Group, settings: ExportSettings) -> dict[str, Any]:
    """Return one folder's concept; `validation_concept` is what versions before `type` understand."""
    held = group.split == "held_out"
    kind = "PRIOR_PREDICTION" if group.role == "regularisation" else "VALIDATION" if held else "STANDARD"
    switches = sorted(key for key in IMAGE_KEYS if key.startswith("enable_"))
    return {
        "__version": 2,
        "name": f"{settings.name} {group.folder}",
        "path": group.folder,
        "seed": 0,
        "enabled": True,
        "type": kind,
        "validation_concept": held,
        "include_subdirectories": False,
        "image_variations": 1,
        "text_variations": 1,
        "balancing": float(group.repeats),
        "balancing_strategy": "REPEATS",
        "loss_weight": 1.0,
        "image": {"__version": 0, **dict.fromkeys(switches, False)},
        "text": {
            "__version": 0,
            "prompt_source": "sample",
            "enable_tag_shuffling": False,
            "tag_delimiter": ",",
            "keep_tags_count": 0 if group.role == "regularisation" else settings.keep_tokens,
            "tag_dropout_enable": False,
            "caps_randomize_enable": False,
        },
    }


def _group(concept: dict[str, Any]) -> Group:
    """Return a concept's folder, its keys checked."""
    check_keys(CONCEPTS, concept, KEYS)
    check_keys(f"{CONCEPTS}, image", concept["image"], IMAGE_KEYS)
    check_keys(f"{CONCEPTS}, text", concept["text"], TEXT_KEYS)
    role = role_of_folder(concept["path"], regularises=concept["type"] == "PRIOR_PREDICTION")
    split: Split = "held_out" if concept["type"] == "VALIDATION" else "train"
    return Group(concept["path"], split, role, int(concept["balancing"]))


def _mask_label(image: Path) -> Path | None:
    mask = image.with_name(f"{image.stem}{MASK_LABEL}.png")
    return mask if mask.is_file() else None
