"""Start sd-scripts' `train_network.py` in their environment: `python kohya_launch.py CHECKOUT CONFIG.toml`.

Runs under that environment's Python, so it imports the standard library and sd-scripts only. Before the training it
asks sd-scripts' own parser whether it knows every key and takes every value of the configuration: they themselves
pass unknown keys in silence, and check no types. With `--check` in place of a configuration it only loads them.
"""

import argparse
import ctypes
import importlib
import importlib.util
import json
import os
import runpy
import signal
import sys
import tomllib
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PARENT_VARIABLE = "REEL2LORA_PARENT_PID"
REFUSED = "reel2lora refuses: "
REFUSED_CODE = 2
SCRIPT = "train_network.py"
_PR_SET_PDEATHSIG = 1
_NOT_OPTIONS = {"help", "config_file", "output_config"}


def main(arguments: list[str]) -> int:
    """Check, then train; returns only where something is refused, or nothing was to be trained."""
    checkout, config = Path(arguments[0]), arguments[1]
    die_with_parent()
    if importlib.util.find_spec("torchvision") is None:
        stand_in_for_torchvision()
    sys.path[0] = str(checkout)
    train_network = importlib.import_module("train_network")
    if config == "--check":
        print(len(train_network.setup_parser()._actions), "options")  # noqa: SLF001
        return 0
    values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    original_unet = importlib.import_module("library.original_unet")
    faults = option_faults(values, train_network.setup_parser())
    faults += size_faults(Path(values["pretrained_model_name_or_path"]), original_unet)
    if faults:
        print(REFUSED + "; ".join(faults), file=sys.stderr, flush=True)
        return REFUSED_CODE
    sys.argv = [str(checkout / SCRIPT), "--config_file", config]
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def option_faults(values: Mapping[str, object], parser: argparse.ArgumentParser) -> list[str]:
    """Return one sentence for each value that the parser's options do not know or do not take."""
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_OPTIONS}  # noqa: SLF001
    faults = []
    for key, value in values.items():
        if key not in actions:
            faults.append(f"sd-scripts know no option {key!r}")
        elif fault := _value_fault(actions[key], value):
            faults.append(f"{key} = {value!r}, but {fault}")
    return faults


def size_faults(base: Path, original_unet: Any) -> list[str]:  # noqa: ANN401  a module of sd-scripts
    """Return why the base model does not fit sd-scripts' U-Net, whose widths are constants of its module."""
    file = base / "unet" / "config.json"
    ours = json.loads(file.read_text(encoding="utf-8"))
    wanted = {
        "block_out_channels": list(original_unet.BLOCK_OUT_CHANNELS),
        "layers_per_block": original_unet.LAYERS_PER_BLOCK,
        "down_block_types": list(original_unet.DOWN_BLOCK_TYPES),
        "norm_num_groups": original_unet.NORM_GROUPS,
    }
    return [
        f"the base model's U-Net has {key} {ours.get(key)}, sd-scripts know Stable Diffusion 1.x's {value} alone: "
        "train it with trainer native"
        for key, value in wanted.items()
        if ours.get(key) != value
    ]


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL. Linux only."""
    if not sys.platform.startswith("linux"):
        return
    parent = int(os.environ.get(PARENT_VARIABLE, os.getppid()))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"parent {parent} ended before sd-scripts began")


def stand_in_for_torchvision() -> None:
    """Let `kohya_transforms`, beside this file, be sd-scripts' `torchvision.transforms`."""
    transforms = importlib.import_module("kohya_transforms")
    package = types.ModuleType("torchvision")
    package.__spec__ = ModuleSpec("torchvision", None)  # transformers asks for it, and for a version: there is none
    setattr(package, "transforms", transforms)  # noqa: B010  no module declares it
    sys.modules.update({"torchvision": package, "torchvision.transforms": transforms})


def _value_fault(action: argparse.Action, value: object) -> str | None:
    """Return why an option does not take a value, None where it does."""
    if action.nargs == 0:
        return None if value is True else "it is a switch: true, or leave it out"
    if action.nargs in {"*", "+"}:
        if not isinstance(value, list):
            return "it takes a list"
        return next((fault for item in value if (fault := _single_fault(action, item))), None)
    return _single_fault(action, value)


def _single_fault(action: argparse.Action, value: object) -> str | None:
    if action.choices is not None and value not in action.choices:
        return f"it takes one of {', '.join(map(str, action.choices))}"
    kinds: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), None: (str,)}
    kind = kinds.get(action.type, (int, float, str))  # sd-scripts' own types: paths, steps or shares
    if isinstance(value, bool) or not isinstance(value, kind):
        return f"it takes {' or '.join(each.__name__ for each in kind)}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
