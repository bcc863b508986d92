"""The composition test: all LoRAs stacked, each alone, all but one, and none, from the same seeds.

Where a search recommends weights, they are what is stacked, and the configured ones are drawn beside them, from seeds
that the search has not seen. What it all comes to is written beside the rows: `composition.json`, the same in words and
tables as `composition.md`, and as a figure.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from pathlib import Path

from data_contracts.composition import ALL, BASE, GIVEN, only, pair, without
from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.records import LoraType, Rejected
from data_contracts.results import LoraFile, StackPicture, WeightTrial, lora_weights
from data_contracts.stack_stages import ComposeLorasConfig
from models.diffusion.shared_directions import shared_directions
from models.pictures import read_rgb
from models.sheets import composition_sheet
from tasks.composition_summary import composition_of, write_composition
from tasks.pictures_job import change, findings_of, generate, keep_generated
from tasks.stage import stage

ORDER: tuple[LoraType, ...] = ("character", "pose", "expression", "background")


@stage(StackPicture, version=4, sheet=composition_sheet)
def compose_loras(
    out: Path,
    loras: tuple[Dataset[LoraFile], ...],
    base: Path,
    config: ComposeLorasConfig,
    search: Dataset[WeightTrial] | str = "",
) -> Iterator[StackPicture | Rejected]:
    """Yield a picture for each seed and each set of weights, the prompt the same throughout.

    search: the weights that were tried, one of them recommended, or why none were.
    """
    members = [lora for each in loras for lora in each]
    prompt = stacked_prompt(members, config.prefix, config.suffix)
    given = {lora.name: config.weights.get(lora.type, 1.0) for lora in members}
    variants = variants_of(given, recommended_weights(search) or given, pairs=config.pairs)
    generate(out.parent / "job", base, loras, variants, (prompt,), config, config.negative_prompt)
    cells = list(product(config.seeds, variants))
    names = [keep_generated(out, variant.name, 0, seed) for seed, variant in cells]
    pictures = [read_rgb(out / name) for name in names]
    plain = {seed: picture for (seed, variant), picture in zip(cells, pictures, strict=True) if variant.name == BASE}
    findings = findings_of(config.judge, members, pictures)
    rows = []
    for (seed, variant), name, picture, found in zip(cells, names, pictures, findings, strict=True):
        row = StackPicture(
            id=f"{seed}:{variant.name}",
            variant=variant.name,
            weights=lora_weights(variant.weights),
            prompt=prompt,
            seed=seed,
            image=name,
            findings=found,
            changed=change(picture, plain[seed]),
        )
        rows.append(row)
    files = {lora.name: (lora.family, each.path(lora.weights)) for each in loras for lora in each if lora.weights}
    write_composition(out.parent, composition_of(rows, given, shared_directions(files), search))
    yield from rows


def recommended_weights(search: Dataset[WeightTrial] | str) -> dict[str, float]:
    """Return the weights that a search recommends; none without a search."""
    trials = () if isinstance(search, str) else search.rows
    return {each.lora: each.weight for trial in trials if trial.recommended for each in trial.weights}


def stacked_prompt(members: Sequence[LoraFile], prefix: str, suffix: str = "") -> str:
    """Return the triggers in the order character, pose, expression, "in" background, between prefix and suffix."""
    words = [f"in {lora.trigger}" if lora.type == "background" else lora.trigger for lora in ranked(members)]
    return ", ".join(filter(None, [prefix, *words, suffix]))


def ranked(members: Sequence[LoraFile]) -> list[LoraFile]:
    """Return the LoRAs in the order character, pose, expression, background."""
    return sorted(members, key=lambda lora: (ORDER.index(lora.type), lora.name))


def variants_of(given: dict[str, float], stack: dict[str, float], *, pairs: bool = False) -> tuple[Variant, ...]:
    """Return none, each alone, all, and all but one; alone, and in pairs, means at full strength.

    Args:
        given: the configured weights, drawn as well where the stack's are others.
        stack: weights of all, and of all but one.
        pairs: whether every two are drawn.
    """
    sets: dict[str, dict[str, float]] = {BASE: {}} | {only(name): {name: 1.0} for name in stack}
    if len(stack) > 1:
        sets |= {GIVEN: given} if given != stack else {}
        sets |= {ALL: stack}
        sets |= {without(out): {name: w for name, w in stack.items() if name != out} for out in stack}
    if pairs:
        sets |= {pair(a, b): {a: 1.0, b: 1.0} for a, b in combinations(stack, 2)}
    return tuple(Variant(name=name, weights=weights) for name, weights in sets.items())
