"""Finished LoRAs for other programs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_contracts.faults import InputFault, StageFault, rule_of
from flows.commands.arguments import Config, project_workspace

if TYPE_CHECKING:
    from data_contracts.stack_stages import ComposeLorasConfig
    from models.exports.lora_release import Release, ReleasedLora
    from tasks.run_record import StageUse


def export_lora(
    config: Config,
    lora: Annotated[
        str, typer.Argument(metavar="LORA", help="The name of a LoRA; without it, all of the project and their stack.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; without it, one in the workspace's exports/.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="LORA=WEIGHT", help="A weight in place of the recommended one; repeatable."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Of the merged stack; without it, as much as it has, or 128.")
    ] = None,
) -> None:
    """Write finished LoRAs for AUTOMATIC1111, ComfyUI and diffusers: files, prompts, workflow, script, model card.

    Several LoRAs are also merged into one file, at their weights: those that a search recommended for these very LoRAs,
    else those of their types in `compose_loras.weights`. A DoRA is not merged, and goes out for ComfyUI alone. What was
    learnt for the words of a trigger goes out beside its LoRA.
    """
    from models.exports.lora_folder import export_release  # noqa: PLC0415

    workspace, project = project_workspace(config), read_project(config)
    names = [lora] if lora else list(project["loras"])
    release = release_of(workspace, project, names, parsed_weights(weight or []), rank)
    called = release.merged_name if len(names) > 1 else f"{release.name}-lora"
    folder = out or workspace / "exports" / called
    try:
        merged = export_release(release, folder)
    except OSError as error:
        message = f"{folder.name} could not be written ({error.strerror}) and holds nothing of this export: "
        raise StageFault(message + "free some space, or name another folder with --out") from error
    print(f"exported {', '.join(names)}: {os.path.relpath(folder)}; its README.md says how to use them")
    if merged:
        print(
            f"merged into {release.merged_name}.safetensors: rank {merged.rank}, keeps {merged.kept:.2%} of the stack"
        )
    if release.has_dora:
        doras = ", ".join(each.name for each in release.loras if each.is_dora)
        print(f"for ComfyUI alone, and not merged: {doras} is a DoRA, whose change hangs on the base model")


def release_of(
    workspace: Path, project: Mapping[str, Any], names: Sequence[str], weights: Mapping[str, float], rank: int | None
) -> "Release":
    """Return the newest LoRAs of these names, as they go out.

    project: as `read_project` returns it. weights: by LoRA; others have the recommended one, or that of their type.

    Raises:
        InputFault: one of them is not trained yet, or weights are given of another.
    """
    from models.exports.lora_release import Release  # noqa: PLC0415
    from tasks.compose_loras import stacked_prompt  # noqa: PLC0415

    if strange := sorted(set(weights) - set(names)):
        message = f"a weight is given for {strange[0]!r}, which is not exported; exported are: {', '.join(names)}"
        raise InputFault(message)
    sampling: ComposeLorasConfig = project["compose_loras"]
    trainings = {name: newest(workspace, name) for name in names}
    known = {**recommended(workspace, {name: use.key for name, use in trainings.items()}), **weights}
    loras = tuple(released(workspace, use, sampling, known.get(name)) for name, use in trainings.items())
    prompt = stacked_prompt([each.lora for each in loras], sampling.prefix, sampling.suffix)
    return Release(names[0] if len(names) == 1 else project["name"], loras, prompt, sampling, rank)


def newest(workspace: Path, name: str) -> "StageUse":
    """Return the training of the newest LoRA of this name.

    Raises:
        InputFault: none is trained yet.
    """
    from tasks.run_record import newest_use  # noqa: PLC0415

    use = newest_use(workspace, "train_lora", name)
    if use is None:
        message = f"no LoRA called {name!r} is trained in the workspace: reel2lora run CONFIG --lora {name}"
        raise InputFault(message)
    return use


def recommended(workspace: Path, trainings: Mapping[str, str]) -> dict[str, float]:
    """Return the weights that the newest composition test recommends, of those LoRAs that it has stacked.

    trainings: the keys of the LoRAs' results, by name.
    """
    from data_contracts.composition import FILE, Composition  # noqa: PLC0415
    from tasks.run_record import newest_use  # noqa: PLC0415

    use = newest_use(workspace, "compose_loras")
    if use is None:
        return {}
    search = Composition.model_validate_json((workspace / use.key / FILE).read_text(encoding="utf-8")).search
    weights = {each.lora: each.weight for each in search.weights} if search else {}
    return {name: weight for name, weight in weights.items() if trainings.get(name) in use.parents}


def released(workspace: Path, use: "StageUse", sampling: "ComposeLorasConfig", weight: float | None) -> "ReleasedLora":
    """Return a LoRA by its training, at `weight` or that of its type."""
    from data_contracts.dataset import read_rows  # noqa: PLC0415
    from data_contracts.records import Example  # noqa: PLC0415
    from data_contracts.results import LoraFile  # noqa: PLC0415
    from models.exports.lora_release import ReleasedLora  # noqa: PLC0415
    from tasks.run_record import result_of  # noqa: PLC0415

    made = result_of(workspace, use, LoraFile)
    (lora,) = made.rows
    learnt_from = [workspace / key / "records.parquet" for key in use.parents if key.startswith("assemble_dataset/")]
    examples = [row for file in learnt_from if file.is_file() for row in read_rows(file, Example)]
    preview = made.path(lora.samples[-1]) if lora.samples else None
    strength = sampling.weights.get(lora.type, 1.0) if weight is None else weight
    file, embedding = made.optional_path(lora.weights), made.optional_path(lora.embedding)
    return ReleasedLora(lora, file, strength, examples, preview, embedding)


def read_project(config: Path) -> dict[str, Any]:
    """Return a project's name, its LoRAs and its settings of the stack, without asking for its films.

    Raises:
        InputFault: the settings of the stack break their rules.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from data_contracts.project_file import project_tree, read_own  # noqa: PLC0415
    from data_contracts.stack_stages import ComposeLorasConfig  # noqa: PLC0415

    tree, _ = project_tree(config, read_own(config))
    settings = tree.get("compose_loras") or {}
    try:
        return {**tree, "compose_loras": ComposeLorasConfig.model_validate(settings)}
    except ValidationError as error:
        keys = [(".".join(map(str, fault["loc"])), rule_of(fault)) for fault in error.errors()]
        raise InputFault("\n".join(f"{config.name}: compose_loras.{key}: {rule}" for key, rule in keys)) from error


def parsed_weights(given: Sequence[str]) -> dict[str, float]:
    """Return `LORA=WEIGHT` texts as a mapping.

    Raises:
        InputFault: a text is something else, or a weight does not lie in 0..2.
    """
    weights: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = -1.0
        if not 0 <= weights[name] <= 2:  # noqa: PLR2004
            message = f"--weight {text}: should be LORA=WEIGHT with a weight in 0..2, such as luca=0.8"
            raise InputFault(message)
    return weights
