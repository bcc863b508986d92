"""The stack for other programs, as the report shows it: a prompt to paste."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_contracts.composition import ALL
from data_contracts.results import LoraFile, StackPicture
from data_contracts.stack_stages import ComposeLorasConfig


def prompt_to_paste(pictures: Sequence[StackPicture], made: Mapping[str, tuple[LoraFile, Path]]) -> str:
    """Return the stack's prompt as AUTOMATIC1111 reads it; empty where it does not draw with these LoRAs.

    Args:
        pictures: of the composition test.
        made: by name, the LoRAs of the run, and the folder of their files.
    """
    from models.exports.lora_a1111 import VERSIONS, stack_prompt  # noqa: PLC0415  imports torch
    from models.exports.lora_release import Release, ReleasedLora  # noqa: PLC0415

    stacked = next((row for row in pictures if row.variant == ALL), None)
    if stacked is None or not {each.lora for each in stacked.weights} <= made.keys():
        return ""
    loras = []
    for each in stacked.weights:
        row, files = made[each.lora]
        weights, embedding = (None if name is None else files / name for name in (row.weights, row.embedding))
        loras.append(ReleasedLora(row, weights, each.weight, embedding=embedding))
    release = Release("stack", tuple(loras), stacked.prompt, ComposeLorasConfig())
    return "" if release.family not in VERSIONS or release.has_dora else stack_prompt(release)
