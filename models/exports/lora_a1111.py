"""AUTOMATIC1111's web UI and its descendants: prompts to paste, and the notes beside a LoRA that its cards show.

A LoRA is called in a prompt by `<lora:file name:weight>`, an embedding by its file's name. Prompt, negative prompt and
a line of settings, in the form that the web UI writes into its own pictures, fill its whole page by the arrow button
below the prompt.
"""

import json
from collections.abc import Mapping

from data_contracts.records import BaseFamily
from models.exports.lora_release import Release, ReleasedLora, plain_prompt

VERSIONS: Mapping[BaseFamily, str] = {"sd15": "SD1", "sdxl": "SDXL"}
"""The families that it draws with, by the names that its notes have for them."""
EMPHASIS = "()[]\\"


def prompts_text(release: Release) -> str:
    """Return a text of prompts: all LoRAs, all merged in one, and each alone."""
    calls = {each.name: lora_call(each.name, each.weight) for each in release.networks}
    blocks = {release.name: _parameters(release, release.prompt, list(calls.values()))}
    if release.is_merged:
        blocks[f"{release.name}, merged into one file"] = _parameters(
            release, release.prompt, [lora_call(release.merged_name, 1.0)]
        )
    if len(release.loras) > 1:
        for each in release.loras:
            blocks[f"{each.name} alone"] = _parameters(
                release, each.lora.trigger, [calls[each.name]] if each.file else []
            )
    return "\n\n".join(f"# {title}\n\n{text}" for title, text in blocks.items()) + "\n"


def stack_prompt(release: Release) -> str:
    """Return the prompt that calls all LoRAs of a release at their weights, in one line."""
    return _prompt(release, release.prompt, [lora_call(each.name, each.weight) for each in release.networks])


def lora_call(name: str, weight: float) -> str:
    """Return what calls a LoRA file in a prompt."""
    return f"<lora:{name}:{weight:g}>"


def notes(each: ReleasedLora) -> str:
    """Return the notes of one LoRA, `<name>.json` beside its file: trigger and weight go into the prompt by a click."""
    return json.dumps(
        {
            "description": f"{each.lora.type}: {each.lora.subject}",
            "sd version": VERSIONS[each.lora.family],
            "activation text": each.embedding_name or plain_prompt(each.lora.trigger, EMPHASIS),
            "preferred weight": each.weight,
            "negative text": "",
            "notes": f"{each.lora.steps} steps, {len(each.lora.shots)} shots of {', '.join(each.films)}",
        },
        indent=1,
        ensure_ascii=False,
    )


def _parameters(release: Release, prompt: str, calls: list[str]) -> str:
    sampling = release.sampling
    settings = {
        "Steps": sampling.steps,
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": f"{sampling.guidance:g}",
        "Seed": sampling.seeds[0],
        "Size": f"{sampling.size}x{sampling.size}",
        **({"Clip skip": release.clip_skip} if release.clip_skip > 1 else {}),
    }
    return "\n".join(
        [
            _prompt(release, prompt, calls),
            f"Negative prompt: {plain_prompt(sampling.negative_prompt, EMPHASIS)}",
            ", ".join(f"{name}: {value}" for name, value in settings.items()),
        ]
    )


def _prompt(release: Release, prompt: str, calls: list[str]) -> str:
    return " ".join([plain_prompt(release.called(prompt, str), EMPHASIS), *calls])
