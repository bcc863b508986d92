"""Reading a project file: YAML over its profile, every fault named with its file, key, value and remedy."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from data_contracts.faults import InputFault
from data_contracts.project import Project

ALLOW_VARIABLE = "REEL2LORA_ALLOW"
VIDEO_ENDINGS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})
Tree = dict[str, Any]


def load_project(path: Path, changes: Mapping[str, str] | None = None) -> Project:
    """Read a project file.

    Args:
        path: the YAML file; its paths are relative to its folder, or to the parent of a folder named `configs`.
        changes: values that replace the file's, by dotted key; each is read as YAML.

    Raises:
        InputFault: every fault of the file in one message: file, key, value, rule, remedy.
    """
    path = path.resolve()
    own = read_yaml(path)
    for key, value in (changes or {}).items():
        set_key(own, key, yaml.safe_load(value))
    root = path.parent.parent if path.parent.name == "configs" else path.parent
    profile = find_profile(str(own.get("profile", "lite")), path.parent)
    tree = complete(own, read_yaml(profile), path.name)
    tree = with_paths(tree, root, path.name)
    try:
        return Project.model_validate(tree)
    except ValidationError as error:
        raise InputFault(describe(error, own, path.name, profile.name)) from error


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


def complete(own: Tree, profile: Tree, file: str) -> Tree:
    """Lay the project on its profile and give every LoRA the values of its type."""
    types = profile.pop("types", {})
    tree: Tree = merged(profile, {key: value for key, value in own.items() if key not in {"characters", "places"}})
    described: dict[str, str] = {}
    for group, stage in (("characters", "identify_characters"), ("places", "cluster_places")):
        for name, entry in mapping(own.get(group), group, file).items():
            entry = mapping(entry, f"{group}.{name}", file)  # noqa: PLW2901
            if unknown := sorted(set(entry) - {"references", "described_as"}):
                message = f"{file}: {group}.{name}.{unknown[0]}: unknown key; known: references, described_as"
                raise InputFault(message)
            described[name] = str(entry.get("described_as", name))
            set_key(tree, f"{stage}.references.{name}", entry.get("references", []))
    loras = mapping(own.get("loras"), "loras", file)
    tree["loras"] = {name: complete_lora(name, entry, types, described, file) for name, entry in loras.items()}
    return tree


def complete_lora(name: str, entry: object, types: Tree, described: dict[str, str], file: str) -> Tree:
    """Lay one LoRA's entry on the values of its type."""
    own = mapping(entry, f"loras.{name}", file)
    if own.get("type") not in types:
        message = (
            f"{file}: loras.{name}.type: {own.get('type')!r} is not a type of this profile; use {', '.join(types)}"
        )
        raise InputFault(message)
    known = {"type", "subject", "trigger", "prefix", "caption", "dataset", "train", "evaluate", "max_seconds"}
    if unknown := sorted(set(own) - known):
        message = f"{file}: loras.{name}.{unknown[0]}: unknown key; known: {', '.join(sorted(known))}"
        raise InputFault(message)
    plan: Tree = merged(types[own["type"]], {key: own[key] for key in own if key in {"dataset", "evaluate", "caption"}})
    head = {"type": own["type"], "subject": own.get("subject", name), "trigger": own.get("trigger", name)}
    prefix = {"prefix": own["prefix"]} if "prefix" in own else {}
    plan["caption"] = {"described_as": described, **plan.get("caption", {}), **head, **prefix}
    settings = merged(plan.get("train", {}), own.get("train", {}))
    plan["train"] = {"name": name, "type": head["type"], "trigger": head["trigger"], "settings": settings}
    if "max_seconds" in own:
        plan["train"]["max_seconds"] = own["max_seconds"]
    return plan


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
    tree["workspace"] = inside(
        tree.get("workspace", f"workspace/{tree.get('name', 'project')}"), "workspace", root, file
    )
    if tree.get("base") is not None:
        tree["base"] = existing(tree["base"], "base", root, file)
    else:
        tree["base"] = None
    for stage, group in (("identify_characters", "characters"), ("cluster_places", "places")):
        references = mapping(mapping(tree.get(stage), stage, file).get("references"), f"{stage}.references", file)
        for name, pictures in references.items():
            key = f"{group}.{name}.references"
            if not isinstance(pictures, list):
                message = f"{file}: {key}: {pictures!r} should be a list of pictures"
                raise InputFault(message)
            references[name] = [existing(picture, key, root, file) for picture in pictures]
    return tree


def inside(value: object, key: str, root: Path, file: str) -> Path:
    """Return a path of the file, absolute.

    Raises:
        InputFault: it is not text, or leaves the project's folder and the folders that the user allowed.
    """
    if not isinstance(value, str) or not value:
        message = f"{file}: {key}: {value!r} should be the path of a file or folder"
        raise InputFault(message)
    path = (root / value).resolve()
    allowed = [root.resolve(), *(Path(p).resolve() for p in os.environ.get(ALLOW_VARIABLE, "").split(os.pathsep) if p)]
    if not any(path.is_relative_to(folder) for folder in allowed):
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


def describe(error: ValidationError, own: Tree, file: str, profile: str) -> str:
    """Return one line a fault: file, key, value, rule, remedy."""
    lines = []
    for fault in error.errors(include_url=False):
        keys = [str(step) for step in fault["loc"] if step != "settings"]
        where = file if _holds(own, keys) or fault["type"] == "missing" else f"{profile} (profile)"
        key, value = ".".join(keys) or "the file", fault.get("input")
        shown = "" if fault["type"] == "missing" or isinstance(value, dict) else f" = {value!r}"
        rule = {"extra_forbidden": "unknown key; remove it or mend its spelling", "missing": "is required; add it"}
        lines.append(f"{where}: {key}{shown}: {rule.get(fault['type'], fault['msg'])}")
    return "\n".join(lines)


def _holds(tree: object, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return bool(keys) and tree is not None and not isinstance(tree, dict)
        tree = tree[key]
    return True
