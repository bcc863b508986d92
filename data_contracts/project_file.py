"""Reading a project file: YAML over its profile, every fault named with its file, key, value and remedy."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from data_contracts.faults import InputFault, rule_of
from data_contracts.lora_stages import CLIP_TOKENS
from data_contracts.profiles import read_profile
from data_contracts.project import Project
from data_contracts.project_paths import Tree, existing, mapping, root_of, with_paths, workspace_path
from data_contracts.yaml_trees import merged, read_yaml, set_key


def load_project(path: Path, changes: Mapping[str, str] | None = None) -> Project:
    """Read a project file.

    Args:
        path: the YAML file; its paths are relative to its folder, or to the parent of a folder named `configs`.
        changes: values that replace the file's, by dotted key; each is read as YAML.

    Raises:
        InputFault: every fault of the file in one message: file, key, value, rule, remedy.
    """
    path = path.resolve()
    own = read_own(path)
    for key, value in (changes or {}).items():
        set_key(own, key, yaml.safe_load(value))
    tree, profile = project_tree(path, own)
    try:
        return Project.model_validate(with_paths(tree, root_of(path), path.name))
    except ValidationError as error:
        raise InputFault(describe(error, own, path.name, profile.name)) from error


def read_own(path: Path) -> Tree:
    """Return what a project file says, with its overlays over it.

    Raises:
        InputFault: it is missing, no YAML or no mapping, or an overlay is.
    """
    path = path.resolve()
    return overlaid(read_yaml(path), root_of(path), path.name)


def project_tree(path: Path, own: Tree) -> tuple[Tree, Path]:
    """Return a project laid on its profile, its paths still as they were written, and the profile's file.

    Raises:
        InputFault: there is no such profile, or a character, place or LoRA is described in keys that nobody knows.
    """
    path = path.resolve()
    profile, file = read_profile(str(own.get("profile", "lite")), path.parent)
    return complete(own, profile, path.name), file


def overlaid(own: Tree, root: Path, file: str) -> Tree:
    """Lay the YAML files that a project names under `overlays`, such as what `reel2lora tune` found, over it.

    Raises:
        InputFault: `overlays` is no list, or names a file that is not there, is no YAML, or is not the project's own.
    """
    entries = own.pop("overlays", None) or []
    if not isinstance(entries, list):
        message = (
            f"{file}: overlays: {entries!r} should be a list of YAML files, such as [workspace/luca/tune/luca.yaml]"
        )
        raise InputFault(message)
    for number, entry in enumerate(entries):
        own = merged(own, read_yaml(existing(entry, f"overlays.{number}", root, file)))
    return own


def workspace_of(path: Path) -> Path:
    """Return a project's workspace without asking for its films: they may be gone by the time one looks at results."""
    path = path.resolve()
    return workspace_path(read_own(path), root_of(path), path.name)


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
    known = {
        "type",
        "subject",
        "trigger",
        "prefix",
        "caption",
        "dataset",
        "train",
        "evaluate",
        "max_seconds",
        "by_size",
    }
    if unknown := sorted(set(own) - known):
        message = f"{file}: loras.{name}.{unknown[0]}: unknown key; known: {', '.join(sorted(known))}"
        raise InputFault(message)
    plan: Tree = merged(types[own["type"]], {key: own[key] for key in own if key in {"dataset", "evaluate", "caption"}})
    head = {"type": own["type"], "subject": own.get("subject", name), "trigger": own.get("trigger", name)}
    prefix = {"prefix": own["prefix"]} if "prefix" in own else {}
    plan["caption"] = {"described_as": described, **plan.get("caption", {}), **head, **prefix}
    plan["dataset"] = {**plan.get("dataset", {}), "type": own["type"]}
    for others in ("regularisation", "inhabited"):
        if plan["dataset"].get(others):
            plan["caption"].setdefault(others, True)
    settings = merged(plan.get("train", {}), own.get("train", {}))
    vectors = settings.get("embedding_vectors") if isinstance(settings, dict) else None
    if isinstance(vectors, int) and vectors > 1:
        plan["caption"].setdefault("max_tokens", CLIP_TOKENS - vectors + 1)
    chosen = {"trainer": settings.pop("trainer")} if isinstance(settings, dict) and "trainer" in settings else {}
    limits = {key: tree[key] for tree in (plan, own) for key in ("max_seconds", "by_size") if key in tree}
    for key in limits:
        plan.pop(key, None)
    plan["train"] = {"name": name, **head, **chosen, "settings": settings, **limits}
    return plan


def describe(error: ValidationError, own: Tree, file: str, profile: str) -> str:
    """Return one line a fault: file, key, value, rule, remedy."""
    lines = []
    for fault in error.errors(include_url=False):
        keys = [str(step) for step in fault["loc"] if step != "settings"]
        where = file if _holds(own, keys) or fault["type"] == "missing" else f"{profile} (profile)"
        key, value = ".".join(keys) or "the file", fault.get("input")
        shown = "" if fault["type"] == "missing" or isinstance(value, dict) else f" = {value!r}"
        rule = {"extra_forbidden": "unknown key; remove it or mend its spelling", "missing": "is required; add it"}
        lines.append(f"{where}: {key}{shown}: {rule.get(fault['type'], rule_of(fault))}")
    return "\n".join(lines)


def _holds(tree: object, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return bool(keys) and tree is not None and not isinstance(tree, dict)
        tree = tree[key]
    return True
