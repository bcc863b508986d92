"""The states that sd-scripts save: which are whole, which is the latest, and which may go.

They write a state in place, not beside: one that a kill cut short looks like any other. accelerate writes the random
states last, and torch an archive's table of contents last, so that an archive that can be read through is whole.
"""

import json
import math
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from models.trainers.kohya_config import OUTPUT_NAME

KEPT = 2
_ARCHIVES = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")
_WEIGHTS = "model.safetensors"
_NAME = re.compile(rf"{OUTPUT_NAME}-step(\d{{8}})-state")


@dataclass(frozen=True)
class SavedState:
    """A folder to resume from, and how many optimizer steps were done when it was saved."""

    step: int
    path: Path


def latest_state(output: Path, before: int) -> SavedState | None:
    """Return the latest whole state of finite weights from before a step, None where there is none."""
    found = (state for state in reversed(_states(output)) if state.step < before)
    return next((state for state in found if is_whole(state.path)), None)


def is_whole(folder: Path) -> bool:
    """Return whether a state can be resumed from: written to its end, and its weights finite numbers."""
    try:
        for name in _ARCHIVES:
            with zipfile.ZipFile(folder / name) as archive:
                if archive.testzip() is not None:
                    return False
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            finite = all(bool(torch.isfinite(file.get_tensor(key)).all()) for key in file.keys())  # noqa: SIM118
        return finite and math.isfinite(json.loads((folder / "train_state.json").read_bytes())["current_step"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError):
        return False


def drop_old(output: Path) -> SavedState | None:
    """Drop all states but the last two whole ones, with the LoRAs saved beside them; return the latest.

    What is not whole is being written, and is left alone.
    """
    whole = [state for state in _states(output) if is_whole(state.path)]
    for state in whole[:-KEPT]:
        shutil.rmtree(state.path)
        (output / f"{OUTPUT_NAME}-step{state.step:08}.safetensors").unlink(missing_ok=True)
    return whole[-1] if whole else None


def _states(output: Path) -> list[SavedState]:
    """Return the states of a folder, the latest last."""
    named = ((_NAME.fullmatch(path.name), path) for path in output.glob("*-state"))
    return sorted((SavedState(int(name[1]), path) for name, path in named if name), key=lambda state: state.step)
