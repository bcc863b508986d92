"""Trees out of YAML files: read, laid over one another, set by dotted key."""

from pathlib import Path
from typing import Any

import yaml

from data_contracts.faults import InputFault
from data_contracts.project_paths import Tree


def read_yaml(path: Path) -> Tree:
    """Read a YAML mapping.

    Raises:
        InputFault: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path.name}: there is no such file; give the path of a project file such as configs/luca.yaml"
        raise InputFault(message) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path.name} is not YAML: {str(error).replace(str(path), path.name)}"
        raise InputFault(message) from error
    if not isinstance(tree, dict):
        message = f"{path.name}: expected `key: value` lines at the top, found {type(tree).__name__}"
        raise InputFault(message)
    return tree


def set_key(tree: Tree, key: str, value: object) -> None:
    """Set a dotted key, such as `loras.luca.train.steps`, making the mappings on its way."""
    *way, last = key.split(".")
    for step in way:
        child = tree.setdefault(step, {})
        if not isinstance(child, dict):
            message = f"--set {key}: {step!r} is a single value, not a group of keys"
            raise InputFault(message)
        tree = child
    tree[last] = value


def merged(under: object, over: object) -> Any:  # noqa: ANN401
    """Lay `over` on `under`: mappings key by key, everything else whole."""
    if isinstance(under, dict) and isinstance(over, dict):
        keys = [*under, *(key for key in over if key not in under)]
        return {k: merged(under[k], over[k]) if k in under and k in over else over.get(k, under.get(k)) for k in keys}
    return over
