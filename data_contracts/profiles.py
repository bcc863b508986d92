"""Profiles: the default of every key of a project file. One may extend another and say only what differs."""

from pathlib import Path

from data_contracts.faults import InputFault
from data_contracts.project_paths import Tree
from data_contracts.yaml_trees import merged, read_yaml


def read_profile(name: str, beside: Path) -> tuple[Tree, Path]:
    """Return a profile laid on what it extends, and its file.

    `all_types` stands for every type of LoRA: over what the extended profile says of each, under the profile's own.

    Raises:
        InputFault: there is no profile of that name, or of one that it extends, or profiles extend each other in a
            circle; or one is no YAML.
    """
    file = find_profile(name, beside)
    layers, files = [read_yaml(file)], [file]
    while (extended := layers[-1].pop("extends", None)) is not None:
        below = find_profile(str(extended), beside)
        if below in files:
            message = f"{files[-1].name} (profile): extends: {extended!r} itself extends it: leave one of them out"
            raise InputFault(message)
        layers.append(read_yaml(below))
        files.append(below)
    tree: Tree = {}
    for layer in reversed(layers):
        every, own = layer.pop("all_types", {}), layer.get("types", {})
        kinds = dict.fromkeys([*tree.get("types", {}), *own])
        layer["types"] = {kind: merged(every, own.get(kind) or {}) for kind in kinds}
        tree = merged(tree, layer)
    return tree, file


def find_profile(name: str, beside: Path) -> Path:
    """Return the profile's file: beside the project, else the ones that come with reel2lora.

    Raises:
        InputFault: there is no profile of that name.
    """
    folders = (beside / "profiles", Path(__file__).parent.parent / "configs" / "profiles")
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    if name not in known:
        message = f"profile: {name!r} is not a profile; known: {', '.join(known)}"
        raise InputFault(message)
    return next(folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file())
