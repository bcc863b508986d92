"""The composition test: all LoRAs stacked, each alone, all but one, and none, from the same seeds."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.lora_stages import ComposeLorasConfig
from data_contracts.records import LoraType, Rejected
from data_contracts.results import LoraFile, LoraWeight, StackPicture
from models.sheets import composition_sheet
from tasks.pictures_job import change, findings_of, generate, keep_generated
from tasks.stage import stage

BASE = "base"
ORDER: tuple[LoraType, ...] = ("character", "pose", "expression", "background")


@stage(StackPicture, version=2, sheet=composition_sheet)
def compose_loras(
    out: Path, loras: tuple[Dataset[LoraFile], ...], base: Path, config: ComposeLorasConfig
) -> Iterator[StackPicture | Rejected]:
    """Yield a picture for each seed and each set of weights, the prompt the same throughout."""
    members = [lora for each in loras for lora in each]
    stack = {lora.name: config.weights.get(lora.type, 1.0) for lora in members}
    prompt = stacked_prompt(members, config.prefix, config.suffix)
    variants = variants_of(stack)
    generate(out.parent / "job", base, loras, variants, (prompt,), config, config.negative_prompt)
    cells = list(product(config.seeds, variants))
    kept = [keep_generated(out, variant.name, 0, seed) for seed, variant in cells]
    findings = findings_of(config.judge, members, [picture for _, picture in kept])
    for (seed, variant), (name, picture), found in zip(cells, kept, findings, strict=True):
        _, plain = keep_generated(out, BASE, 0, seed)
        yield StackPicture(
            id=f"{seed}:{variant.name}",
            variant=variant.name,
            weights=tuple(LoraWeight(lora=each, weight=value) for each, value in variant.weights.items()),
            prompt=prompt,
            seed=seed,
            image=name,
            findings=found,
            changed=change(picture, plain),
        )


def stacked_prompt(members: Sequence[LoraFile], prefix: str, suffix: str = "") -> str:
    """Return the triggers in the order character, pose, expression, "in" background, between prefix and suffix."""
    ranked = sorted(members, key=lambda lora: (ORDER.index(lora.type), lora.name))
    words = [f"in {lora.trigger}" if lora.type == "background" else lora.trigger for lora in ranked]
    return ", ".join(filter(None, [prefix, *words, suffix]))


def variants_of(stack: dict[str, float]) -> tuple[Variant, ...]:
    """Return none, each alone, all, and, from three members on, all but one; alone means at full strength."""
    alone = [Variant(name=f"only {name}", weights={name: 1.0}) for name in stack]
    everything = [Variant(name="all", weights=stack)] if len(stack) > 1 else []
    without = [
        Variant(name=f"without {left_out}", weights={name: w for name, w in stack.items() if name != left_out})
        for left_out in stack
        if len(stack) > 2  # noqa: PLR2004
    ]
    return (Variant(name=BASE), *alone, *everything, *without)
