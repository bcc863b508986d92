"""The same data set as kohya's sd-scripts wants it, beside the rows that it was made from."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from data_contracts.exports import ExportSettings, items_of
from data_contracts.lora_stages import AssembleDatasetConfig
from data_contracts.records import Example
from models.exports.folder import export_dataset


def write_kohya_folder(files: Path, examples: Sequence[Example], config: AssembleDatasetConfig) -> Path:
    """Write `kohya/` beside `files`, new whatever was there: the folder is the stage's own; none without examples."""
    folder = files.parent / "kohya"
    for old in (folder.with_name("kohya.part"), folder):
        shutil.rmtree(old, ignore_errors=True)
    if not examples:
        return folder
    return export_dataset("kohya", items_of(files, examples), folder, ExportSettings(resolution=config.resolution))
