"""The paths of a project file: relative to the project, inside what the user allowed, and there."""

import os
from pathlib import Path
from typing import Any

from data_contracts.faults import InputFault

ALLOW_VARIABLE = "REEL2LORA_ALLOW"
VIDEO_ENDINGS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})
Tree = dict[str, Any]


def root_of(path: Path) -> Path:
    """Return the project's folder: the file's, or the parent of a folder named `configs`."""
    return path.parent.parent if path.parent.name == "configs" else path.parent


def mapping(value: object, key: str, file: str) -> Tree:
    """Return `value` as a mapping; nothing is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{file}: {key}: {value!r} should be a group of keys, one `name: value` a line below it"
        raise InputFault(message)
    return value


def with_paths(tree: Tree, root: Path, file: str) -> Tree:
    """Make the tree's paths absolute, expand folders of films, and keep all of them inside the allowed folders."""
    films: list[Tree] = []
    entries = tree.get("films") or []
    if not isinstance(entries, list):
        message = f"{file}: films: {entries!r} should be a list, one `- path` a line"
        raise InputFault(message)
    for number, entry in enumerate(entries):
        film = dict(entry) if isinstance(entry, dict) else {"path": entry}
        where = existing(film.get("path"), f"films.{number}", root, file)
        films += [{**film, "path": path} for path in videos_in(where, f"films.{number}", file)]
    tree["films"] = films
    tree["workspace"] = workspace_path(tree, root, file)
    if tree.get("base") is not None:
        tree["base"] = existing(tree["base"], "base", root, file)
    for stage, group in (("identify_characters", "characters"), ("cluster_places", "places")):
        references = mapping(mapping(tree.get(stage), stage, file).get("references"), f"{stage}.references", file)
        for name, pictures in references.items():
            key = f"{group}.{name}.references"
            if not isinstance(pictures, list):
                message = f"{file}: {key}: {pictures!r} should be a list of pictures"
                raise InputFault(message)
            references[name] = [existing(picture, key, root, file) for picture in pictures]
    key = "compose_characters.regions"
    regions = mapping(mapping(tree.get("compose_characters"), "compose_characters", file).get("regions"), key, file)
    for name, area in regions.items():
        if isinstance(area, str):
            regions[name] = existing(area, f"{key}.{name}", root, file)
    return tree


def inside(value: object, key: str, root: Path, file: str) -> Path:
    """Return a path of the file, absolute.

    Raises:
        InputFault: it is not text, or leaves the project's folder and the folders that the user allowed.
    """
    if not isinstance(value, str) or not value:
        message = f"{file}: {key}: {value!r} should be the path of a file or folder"
        raise InputFault(message)
    # Not resolved itself: in the hub's cache a file's name, its suffix too, is that of a link to it.
    path = Path(os.path.abspath(root.resolve() / value))  # noqa: PTH100  resolve() would follow the link
    allowed = [root.resolve(), *(Path(p).resolve() for p in os.environ.get(ALLOW_VARIABLE, "").split(os.pathsep) if p)]
    if not any(path.resolve().is_relative_to(folder) for folder in allowed):
        message = f"{file}: {key}: {value!r} leaves the project's folder. Move it inside, or allow its folder with "
        raise InputFault(message + f"--allow-folder (environment variable {ALLOW_VARIABLE})")
    return path


def existing(value: object, key: str, root: Path, file: str) -> Path:
    """Return a path of the file that must exist.

    Raises:
        InputFault: nothing is there.
    """
    path = inside(value, key, root, file)
    if not path.exists():
        message = f"{file}: {key}: {value!r} does not exist; paths are relative to the project's folder {root.name!r}"
        raise InputFault(message)
    return path


def videos_in(path: Path, key: str, file: str) -> list[Path]:
    """Return the film, or the films of a folder in order of their names."""
    if not path.is_dir():
        return [path]
    if not (found := sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_ENDINGS)):
        message = (
            f"{file}: {key}: folder {path.name!r} holds no video; endings known: {' '.join(sorted(VIDEO_ENDINGS))}"
        )
        raise InputFault(message)
    return found


def workspace_path(tree: Tree, root: Path, file: str) -> Path:
    """Return the workspace that a project names, or the usual one."""
    return inside(tree.get("workspace", f"workspace/{tree.get('name', 'project')}"), "workspace", root, file)
