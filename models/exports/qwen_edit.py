"""Qwen-Image-Edit pairs for ai-toolkit: a target picture, and a control picture of the same name to edit into it.

The control here is the target with its subject painted over in grey. Practitioners give an edit model one of three
controls: another picture of the subject, the scene without it, or an empty canvas. The first teaches to copy what the
control shows rather than what the trigger means; the second wants the plate behind each crop, which an assembled
example does not have; the third leaves the scene to the words. A greyed subject is the second with a hole: the scene
is given, the subject has to come from the trigger, and outside the hole the pair agrees, so that the LoRA learns to
leave the rest alone. The hole is wider than the mask, for a rim of the subject's own colours would give it away. Where
nothing is masked, all is subject, and the control is the empty canvas.

The loss counts everywhere: masks are in the export, but `datasets.yaml` does not name them.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data_contracts.exports import ExportItem, ExportSettings
from data_contracts.faults import StageFault
from models.exports.ai_toolkit import entry, read_entries, write_entries
from models.exports.groups import Group, group_items, write_text
from models.exports.masks_folder import read_pictures, write_pictures
from models.exports.pixels import Pixels, load_pixels
from models.pictures import Picture, encode_png, read_rgb

CONTROL = "control"
GREY = 127
RIM_SHARE = 1 / 32  # of the shorter side: 16 pixels of 512, about what inpainting needs for no trace to be left
README = """\
Pairs for training a LoRA of Qwen-Image-Edit with ai-toolkit: control/train/NAME.png, the subject painted over in grey,
becomes train/NAME.png by the words of train/NAME.txt. Copy the entries below `datasets:` of datasets.yaml into
config.process[0].datasets of your job file (model.arch: qwen_image_edit), put it here and start it in this folder:

  python PATH/TO/ai-toolkit/run.py job.yaml

masks/ is for whoever wants a masked loss: add mask_path: masks/train.
held_out/ and control/held_out/ are for your own comparison, and are not listed: they must not be trained on.
"""


def write(items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
    """Write targets, texts, controls, masks, `datasets.yaml` and README."""
    groups = group_items(items)
    write_pictures(folder, groups)
    for group in groups:
        _control_of(folder, group).mkdir(parents=True)
        for item in read_pictures(folder, group):
            picture = control_picture(load_pixels(item))
            (_control_of(folder, group) / item.image.name).write_bytes(encode_png(picture))
    entries = [
        {
            **entry(folder, group, settings, masked=False),
            "control_path": _control_of(folder, group).relative_to(folder).as_posix(),
        }
        for group in groups
        if group.split == "train"
    ]
    write_entries(folder, entries)
    write_text(folder / "README.txt", README)


def read(folder: Path) -> tuple[ExportItem, ...]:
    """Return the pairs that ai-toolkit would train on, and the held-out ones.

    Raises:
        StageFault: an unknown key, a missing file, or a target whose control is missing or of another size.
    """
    items: list[ExportItem] = []
    for group in read_entries(folder):
        found = tuple(read_pictures(folder, group))
        for item in found:
            _check_pair(item.image, _control_of(folder, group) / item.image.name)
        items += found
    return tuple(items)


def control_picture(pixels: Pixels) -> Picture:
    """Return the picture with its subject, and a rim around it, in grey: `(H, W, 3)` uint8."""
    rim = max(1, round(RIM_SHARE * min(pixels.size)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    hole = cv2.dilate(np.where(pixels.weight > 0, 255, 0).astype(np.uint8), disc) > 0
    return np.where(hole[..., None], np.uint8(GREY), pixels.rgb)


def _control_of(folder: Path, group: Group) -> Path:
    return folder / CONTROL / group.folder


def _check_pair(target: Path, control: Path) -> None:
    if not control.is_file():
        message = f"{target.parent.name}/{target.name} has no control picture of its name: export again"
        raise StageFault(message)
    if read_rgb(target).shape != read_rgb(control).shape:
        message = f"{target.parent.name}/{target.name} and its control picture differ in size: export again"
        raise StageFault(message)
