"""What goes out when finished LoRAs are exported: the files, how strong to use them, and what is known of them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data_contracts.adapter_settings import EMBEDDING_SUFFIX
from data_contracts.records import BaseFamily, Example
from data_contracts.results import LoraFile
from data_contracts.stack_stages import ComposeLorasConfig
from models.diffusion.textual_inversion import as_clip_reads, whole_words
from models.exports.lora_header import read_metadata


@dataclass(frozen=True)
class ReleasedLora:
    """One LoRA of a release.

    file: where its weights lie; None where an embedding alone was learnt. weight: how strongly it is best used.
    examples: what it learnt from, and what was held out, where that is still known. preview: a PNG of what it draws.
    embedding: where the vectors lie that were learnt for its trigger; None where there are none.
    """

    lora: LoraFile
    file: Path | None
    weight: float
    examples: Sequence[Example] = ()
    preview: Path | None = None
    embedding: Path | None = None

    @property
    def name(self) -> str:
        """What its file is called, without ending."""
        return self.lora.name

    @property
    def embedding_name(self) -> str:
        """What its embedding's file is called, without ending, and its embedding in prompts; empty without one."""
        return f"{self.name}{EMBEDDING_SUFFIX}" if self.embedding else ""

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What its file says of itself."""
        file = self.file or self.embedding
        return read_metadata(file.read_bytes()) if file else {}

    @property
    def base(self) -> str:
        """What the base model that it was trained for is called; empty where its file does not say."""
        return self.metadata.get("ss_sd_model_name", "")

    @property
    def films(self) -> list[str]:
        """The films that it learnt from."""
        films: list[str] = json.loads(self.metadata.get("reel2lora.films", "[]"))
        return films

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that it was trained with, by their names in a project file."""
        settings: dict[str, Any] = json.loads(self.metadata.get("reel2lora.settings", "{}"))
        return settings

    @property
    def is_dora(self) -> bool:
        """Whether it is a DoRA, which not all programs read, and none can merge without the base model."""
        return bool(self.settings.get("dora"))

    @property
    def learnt(self) -> list[Example]:
        """The pictures that it was trained on."""
        return [example for example in self.examples if example.split == "train"]


@dataclass(frozen=True)
class Release:
    """LoRAs of one family that go out together.

    name: of the project, or of the one LoRA. prompt: the triggers of all. sampling: how to draw, the stack's settings.
    rank: of the merged stack; None: that of all together, up to a limit.
    """

    name: str
    loras: tuple[ReleasedLora, ...]
    prompt: str
    sampling: ComposeLorasConfig
    rank: int | None = None

    @property
    def networks(self) -> tuple[ReleasedLora, ...]:
        """Those that are more than an embedding."""
        return tuple(each for each in self.loras if each.file)

    @property
    def embeddings(self) -> tuple[ReleasedLora, ...]:
        """Those that have an embedding."""
        return tuple(each for each in self.loras if each.embedding)

    @property
    def is_merged(self) -> bool:
        """Whether there is a stack that can be one file."""
        return len(self.networks) > 1 and not self.has_dora

    def called(self, prompt: str, call: Callable[[str], str]) -> str:
        """Return a prompt in which `call` of an embedding's name stands for each trigger that has an embedding.

        What follows such a call other than a comma is set apart: programs would take it for a part of the name.
        """
        names = {as_clip_reads(each.lora.trigger): each.embedding_name for each in self.embeddings}
        if not names:
            return prompt

        def put(found: re.Match[str]) -> str:
            glued = prompt[found.end() : found.end() + 1].strip(" ,")
            return call(names[as_clip_reads(found[0])]) + (" " if glued else "")

        return whole_words(names).sub(put, prompt)

    @property
    def family(self) -> BaseFamily:
        """The family of base models that they are for."""
        return self.loras[0].lora.family

    @property
    def base(self) -> str:
        """What the base model is called."""
        return self.loras[0].base or self.family

    @property
    def predicts_velocity(self) -> bool:
        """Whether the base model is a U-Net that says the velocity, which its file alone does not tell programs."""
        return self.loras[0].metadata.get("modelspec.prediction_type") == "v"

    @property
    def clip_skip(self) -> int:
        """The text encoder's layer that they read, counted from the last."""
        return self.loras[0].lora.clip_skip

    @property
    def has_dora(self) -> bool:
        """Whether one of the LoRAs is a DoRA."""
        return any(each.is_dora for each in self.loras)

    @property
    def merged_name(self) -> str:
        """What the file with all of them is called, without ending."""
        return f"{self.name}-stack"


def plain_prompt(text: str, emphasis: str = "()") -> str:
    r"""Return a prompt in which what a program reads as emphasis stands for itself: `\(` for `(`."""
    return re.sub(f"([{re.escape(emphasis)}])", r"\\\1", text)
