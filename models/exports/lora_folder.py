"""A release as a folder: LoRAs as other programs read them, all in one, prompts, workflows, a script and a card."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_contracts.faults import InputFault
from models.diffusion.key_formats import KEY_FORMATS
from models.diffusion.lora_file import KeyFormat, LoraWeights, load_kohya, save_kohya
from models.diffusion.merge import Merged, merge
from models.exports.folder import replaced
from models.exports.groups import write_text
from models.exports.lora_a1111 import VERSIONS, notes, prompts_text
from models.exports.lora_card import model_card
from models.exports.lora_comfyui import WORKFLOWS, workflow
from models.exports.lora_header import dataset_metadata, with_metadata
from models.exports.lora_release import Release, ReleasedLora
from models.exports.lora_script import PIPELINES, diffusers_script
from models.trainers.lora_metadata import SPECIFICATION

_OF_THE_BASE = ("ss_sd_model_name", "modelspec.prediction_type", "modelspec.resolution")
"""What a LoRA's metadata says of its base model and training, and the stack's as well where all agree."""
MOST_RANK = 128
"""Of a merged stack for which no rank is given: what one trained LoRA has at most in practice."""


def export_release(release: Release, folder: Path) -> Merged | None:
    """Write a release into `folder`, in place of an older one; return the merged stack, where there are several LoRAs.

    Embeddings stay files of their own beside all. With a DoRA there is no merged stack, and nothing for two programs:
    AUTOMATIC1111 takes its lengths for those of inputs, and diffusers leaves them out.

    Raises:
        InputFault: the LoRAs are for different base models, one is called as their stack, or the folder holds
            something else.
    """
    _check(release)
    with replaced(folder, {"format": "lora"}) as beside:
        for each in release.loras:
            _write_lora(each, beside)
        merged = _write_merged(release, beside) if release.is_merged else None
        for name, text in _texts(release).items():
            write_text(beside / name, text)
        write_text(beside / "README.md", model_card(release, {path.name for path in beside.iterdir()}, merged))
    return merged


def _texts(release: Release) -> dict[str, str]:
    """Return the files for the programs that draw with the release's family, by name."""
    texts = {}
    if release.family in VERSIONS and not release.has_dora:
        texts["a1111_prompts.txt"] = prompts_text(release)
        texts |= {f"{each.name}.json": notes(each) for each in release.networks}
    if release.family in WORKFLOWS:
        graph = workflow(release)
        texts["comfyui_workflow.json"] = json.dumps(graph.to_page(), indent=1)
        texts["comfyui_api.json"] = json.dumps(graph.to_api(), indent=1)
    if release.family in PIPELINES and not release.has_dora:
        texts["diffusers_example.py"] = diffusers_script(release)
    return texts


def _write_lora(each: ReleasedLora, folder: Path) -> None:
    """Write a LoRA and its embedding with all that is known in their metadata, and a preview where there is one."""
    known = dataset_metadata(each.name, each.learnt)
    trigger = each.embedding_name or each.lora.trigger
    hint = {"modelspec.usage_hint": f"{trigger}, at weight {each.weight:g}" if each.file else trigger}
    for name, file in ((each.name, each.file), (each.embedding_name, each.embedding)):
        if file:
            # The name in its metadata is what A1111 calls a LoRA by, before its file name.
            added = {**known, **hint, "ss_output_name": name}
            (folder / f"{name}.safetensors").write_bytes(with_metadata(file.read_bytes(), added))
    if each.preview:
        shutil.copyfile(each.preview, folder / f"{each.name}.png")


def _write_merged(release: Release, folder: Path) -> Merged:
    keys = KEY_FORMATS[release.family]
    stack = [(load_kohya(each.file, keys), each.weight) for each in release.networks if each.file]
    merged = merge(stack, release.rank or MOST_RANK)
    found = merged.weights
    metadata = _merged_metadata(release, merged, keys)
    named = LoraWeights(found.unet, found.text_encoder, metadata, found.text_encoder_2)
    save_kohya(folder / f"{release.merged_name}.safetensors", named, keys)
    return merged


def _merged_metadata(release: Release, merged: Merged, keys: KeyFormat) -> dict[str, str]:
    wide = {"conv_dim": str(merged.conv_rank), "conv_alpha": str(merged.conv_rank)}
    described = [each.metadata for each in release.networks]
    return {
        **{key: described[0][key] for key in _OF_THE_BASE if _agree(described, key)},
        "ss_output_name": release.merged_name,
        "ss_network_module": keys.network_module,
        "ss_network_dim": str(merged.rank),
        "ss_network_alpha": str(float(merged.rank)),
        "ss_network_args": json.dumps(wide) if merged.conv_rank else "None",
        "ss_base_model_version": keys.base_version,
        "ss_v2": "False",
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.architecture": keys.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": release.merged_name,
        "modelspec.trigger_phrase": ", ".join(each.lora.trigger for each in release.networks),
        "modelspec.usage_hint": f"{release.called(release.prompt, str)}, at weight 1",
        "modelspec.merged_from": ", ".join(each.name for each in release.networks),
        "reel2lora.merged": json.dumps({each.name: each.weight for each in release.networks}),
        "reel2lora.kept": f"{merged.kept:.6f}",
    }


def _agree(described: Sequence[Mapping[str, str]], key: str) -> bool:
    return key in described[0] and len({each.get(key) for each in described}) == 1


def _check(release: Release) -> None:
    if release.merged_name in {each.name for each in release.loras}:
        message = f"a LoRA is called {release.merged_name!r}, as the merged stack would be: rename it"
        raise InputFault(message)
    names = {each.name for each in release.loras}
    if taken := [each for each in release.embeddings if each.embedding_name in names]:
        message = f"a LoRA is called {taken[0].embedding_name!r}, as the embedding of {taken[0].name!r}: rename it"
        raise InputFault(message)
    if len(skips := {each.lora.clip_skip for each in release.loras}) > 1:
        message = f"these LoRAs were trained with train.clip_skip {sorted(skips)}: train them alike to stack them"
        raise InputFault(message)
    bases = sorted({(each.lora.family, each.base) for each in release.loras})
    if len(bases) > 1:
        named = ", ".join(f"{each.name}: {each.base or each.lora.family}" for each in release.loras)
        message = f"these LoRAs are for different base models and cannot be stacked ({named}): train them on one"
        raise InputFault(message)
