"""What a picture generator is asked for: prompts, seeds, and stacks of LoRAs to try them on."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from data_contracts.config import Config
from data_contracts.regions import Region, overlapping

Weight = Annotated[float, Field(ge=-4, le=4)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
MOST_SEEDS = 10_000
StackingMethod = Literal["linear", "switch", "composite", "regional"]
Precision = Literal["float32", "bfloat16", "nf4"]
"""Of a frozen base model and the arithmetic. nf4: weights of 4 bits, needs bitsandbytes; the arithmetic is bfloat16."""
BlockGroup = Literal["inner", "outer"]
"""Of a U-Net's blocks: those of the lower resolutions, which lay a picture out, and those of the higher ones."""


def _counted(seeds: object) -> object:
    if not isinstance(seeds, int) or isinstance(seeds, bool):
        return seeds
    if not 1 <= seeds <= MOST_SEEDS:
        message = f"{seeds} is no number of seeds: give 1 to {MOST_SEEDS}, or a list of seeds"
        raise ValueError(message)
    return tuple(range(1, seeds + 1))


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    _all_differ("seed", [str(seed) for seed in seeds])
    return seeds


Seeds = Annotated[
    tuple[Seed, ...],
    Field(min_length=1),
    AfterValidator(_different),
    BeforeValidator(_counted, json_schema_input_type=Annotated[int, Field(ge=1, le=MOST_SEEDS)] | tuple[Seed, ...]),
]
"""Seeds that differ from one another; a single number n stands for 1 to n."""


class NamedLora(Config):
    """A LoRA, and what the variants call it."""

    name: str = Field(min_length=1)
    path: Path | None = Field(default=None, description="its file; null: it is an embedding alone")
    embedding: Path | None = Field(default=None, description="vectors that are read for its trigger where it is on")

    @model_validator(mode="after")
    def _is_something(self) -> "NamedLora":
        if self.path is None and self.embedding is None:
            message = f"LoRA {self.name!r} has neither a file nor an embedding: give one"
            raise ValueError(message)
        return self


class Variant(Config):
    """A stack of LoRAs to generate with; without weights it is the base model alone."""

    name: str = Field(min_length=1)
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="stacking weight by LoRA name; their order is that in which they take turns"
    )
    method: StackingMethod = Field(
        default="linear",
        description="linear: their changes are summed; switch: one at a time, in turns; composite: each predicts alone "
        "and the mean counts, for as many times the work; regional: each region has a prompt and LoRAs of its own",
    )
    switch_every: int = Field(default=1, ge=1, description="switch only: denoising steps that a LoRA's turn lasts")
    blocks: dict[str, dict[BlockGroup, Weight]] = Field(
        default_factory=dict,
        description="by LoRA name: what its weight is multiplied by in the inner and the outer blocks of a U-Net; "
        "those unnamed: 1; text encoders have no blocks",
    )
    regions: tuple[Region, ...] = Field(default=(), description="regional only; LoRAs that none names act in all")
    feather: float = Field(
        default=0.03, ge=0, le=0.5, description="regional only: how softly regions blend, in shorter sides of a picture"
    )

    @property
    def active(self) -> dict[str, float]:
        """The LoRAs whose weight is not 0, with their weights."""
        return {name: weight for name, weight in self.weights.items() if weight != 0}

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> "Variant":
        if self.method != "linear" and not self.active:
            message = f"variant {self.name!r}: {self.method} needs a LoRA whose weight is not 0: add one, or use linear"
            raise ValueError(message)
        if strange := sorted(set(self.blocks) - set(self.weights)):
            message = f"variant {self.name!r} weighs blocks of {strange[0]!r}, which has no weight: give it one"
            raise ValueError(message)
        if self.method == "regional":
            self._require_regions()
        elif self.regions:
            message = f"variant {self.name!r} has regions, which {self.method} does not look at: use regional"
            raise ValueError(message)
        return self

    def _require_regions(self) -> None:
        """Refuse regions that cannot be drawn: too few, of unknown LoRAs, of one LoRA twice, or overlapping."""
        named = [name for region in self.regions for name in region.loras]
        areas = {f"{n}": region.area for n, region in enumerate(self.regions) if region.area is not None}
        fault = ""
        if not areas:
            fault = "has no region with an area: add one"
        elif len(self.regions) - len(areas) > 1:
            fault = "has two regions without an area: only one can have all that is left"
        elif strange := sorted(set(named) - set(self.weights)):
            fault = f"has a region of {strange[0]!r}, which has no weight: give it one"
        elif twice := sorted({name for name in named if named.count(name) > 1}):
            fault = f"has {twice[0]!r} in two regions: name it in one, or in none to have it in all"
        elif both := overlapping(areas):
            fault = f"has regions that overlap, {' and '.join(both)}, counted from 0: move their boxes apart"
        if fault:
            message = f"variant {self.name!r} {fault}"
            raise ValueError(message)


class GenerateRequest(Config):
    """All that the generator needs to know: a picture for each variant, prompt and seed."""

    base: Path = Field(description="the base model: a diffusers folder, or a .safetensors checkpoint")
    loras: tuple[NamedLora, ...] = ()
    variants: tuple[Variant, ...] = Field(min_length=1)
    prompts: tuple[str, ...] = Field(min_length=1)
    negative_prompt: str = ""
    seeds: Seeds
    steps: int = Field(default=25, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(default=7.0, ge=0, le=50, description="classifier-free guidance; 1 and below: none")
    size: int = Field(default=512, ge=64, le=2048, multiple_of=8, description="pixels of both sides, or the height")
    width: int | None = Field(
        default=None, ge=64, le=8192, multiple_of=8, description="pixels, where pictures are not square"
    )
    output: Path = Field(description="folder of the pictures")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    precision: Precision = "float32"
    clip_skip: int = Field(default=1, ge=1, le=12, description="SD 1.x only: the text encoder's layer, from the last")
    threads: int | None = Field(default=None, ge=1, description="null: OMP_NUM_THREADS, else one for each core")

    @model_validator(mode="after")
    def _names_are_clear(self) -> "GenerateRequest":
        _all_differ("LoRA name", [lora.name for lora in self.loras])
        _all_differ("variant's file name", [_file_stem(variant.name) for variant in self.variants])
        known = {lora.name for lora in self.loras}
        for variant in self.variants:
            for name in sorted(set(variant.weights) - known):
                message = f"variant {variant.name!r} weighs {name!r}, which is not among the LoRAs {sorted(known)}"
                raise ValueError(message)
        return self


def picture_name(variant: str, prompt: int, seed: int) -> str:
    """Return the file name of the picture of a variant, the number of a prompt, and a seed."""
    return f"{_file_stem(variant)}-{prompt:02}-{seed}.png"


def _file_stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", name)


def _all_differ(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        message = f"the {what} {twice[0]!r} occurs twice: rename or drop one"
        raise ValueError(message)
