"""The ways of stacking all LoRAs, side by side: the composition test's sums, and other ways from the same seeds.

What it comes to is written beside the rows: `stacking.json`, and the same in words as `stacking.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from data_contracts.composition import ALL, GIVEN
from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.records import BaseFamily, Rejected
from data_contracts.results import LoraFile, StackPicture, WayPicture, lora_weights
from data_contracts.stack_stages import CompareStackingConfig, ComposeLorasConfig
from data_contracts.stacking import FILE, OtherWay, StackingWays
from models.diffusion.key_formats import KEY_FORMATS
from models.diffusion.lora_file import LoraWeights, load_kohya, save_kohya
from models.diffusion.merge import Stack, largest_rank, merge
from models.metrics.interference import said
from models.metrics.stacking_ways import NAMES, verdicts, ways_of, weights_in_words
from models.pictures import keep_bytes, read_rgb
from models.sheets import stacking_sheet
from tasks.pictures_job import findings_of, generate, keep_generated
from tasks.stage import stage

WORDS = "stacking.md"
MERGED = "merged stack"
"""What the merged file is called among the LoRAs; no LoRA's name has a space."""
WITH_BLOCKS: frozenset[BaseFamily] = frozenset({"sd15", "sdxl"})
"""The families that are drawn by a U-Net, whose blocks see a picture at several resolutions."""
Weights = Mapping[str, float]


@stage(WayPicture, version=1, sheet=stacking_sheet)
def compare_stacking(
    out: Path,
    loras: tuple[Dataset[LoraFile], ...],
    base: Path,
    stack: Dataset[StackPicture],
    sampling: ComposeLorasConfig,
    config: CompareStackingConfig,
) -> Iterator[WayPicture | Rejected]:
    """Yield the composition test's pictures of all LoRAs summed, and one from each of their seeds by each other way.

    stack: the composition test's pictures. sampling: how these were drawn.
    """
    members = [lora for each in loras for lora in each]
    keys = KEY_FORMATS[members[0].family]
    asked = [(lora.name, each.path(lora.weights)) for each in loras for lora in each if lora.weights]
    networks = {name: load_kohya(path, keys) for name, path in asked} if "merged" in config.methods else {}
    few = sampling.model_copy(update={"seeds": sampling.seeds[: config.seeds]})
    sums = {
        name: [row for row in stack.where("variant", name) if row.seed in few.seeds]
        for name in (GIVEN, ALL)
        if len(stack.where("variant", name))
    }
    weights = {name: {each.lora: each.weight for each in rows[0].weights} for name, rows in sums.items()}
    left_out = {method: why for method in config.methods if (why := objection(method, members, networks, config))}
    variants = variants_of(members, weights[ALL], weights.get(GIVEN, weights[ALL]), config)
    variants = {method: variant for method, variant in variants.items() if method not in left_out}
    kept = None
    if "merged" in variants:
        one, kept = merged_stack(out.parent / "job" / "merged", members[0], networks, weights[ALL], config.merged_rank)
        loras = (*loras, one)
    prompt = stack.rows[0].prompt
    if variants:
        drawn = tuple(variants.values())
        generate(out.parent / "job", base, loras, drawn, (prompt,), few, few.negative_prompt)
    rows = [
        *(
            WayPicture(
                id=row.id,
                variant=name,
                weights=row.weights,
                prompt=row.prompt,
                seed=row.seed,
                image=keep_bytes(out, stack.path(row.image).read_bytes(), "png"),
                findings=row.findings,
            )
            for name, summed in sums.items()
            for row in summed
        ),
        *drawn_rows(out, variants, weights, prompt, members, few),
    ]
    write_ways(out.parent, rows, variants, left_out, kept)
    yield from rows


def variants_of(
    members: Sequence[LoraFile], best: Weights, given: Weights, config: CompareStackingConfig
) -> dict[OtherWay, Variant]:
    """Return what each way of stacking draws with.

    LoRAs that have the word alone, in turns or before a mean, take the given weights: the best ones are those of a sum.
    """
    factors = {lora.name: config.blocks[lora.type] for lora in members if lora.type in config.blocks}
    every: dict[OtherWay, Variant] = {
        "switch": Variant(name="switch", weights=dict(given), method="switch", switch_every=config.switch_every),
        "composite": Variant(name="composite", weights=dict(given), method="composite"),
        "blocks": Variant(name="blocks", weights=dict(best), blocks=factors),
        "merged": Variant(name="merged", weights={MERGED: 1.0}),
    }
    return {method: every[method] for method in config.methods}


def objection(
    method: OtherWay, members: Sequence[LoraFile], networks: Mapping[str, LoraWeights], config: CompareStackingConfig
) -> str:
    """Return why LoRAs cannot be stacked in a way, `networks` being theirs by name; empty where they can."""
    family = members[0].family
    if method == "blocks" and family not in WITH_BLOCKS:
        return f"all blocks of {KEY_FORMATS[family].family} see the picture at one resolution"
    if method == "blocks" and not {lora.type for lora in members} & config.blocks.keys():
        return f"compare_stacking.blocks says nothing of {', '.join(sorted({lora.type for lora in members}))}"
    if method == "merged" and any(lora.embedding for lora in members):
        return "what a LoRA learnt for the words of its trigger is a file of its own"
    if method == "merged" and (doras := [name for name, network in networks.items() if network.is_dora]):
        return f"{doras[0]} is a DoRA, whose change hangs on the base model's weights"
    return ""


def merged_stack(
    folder: Path, like: LoraFile, networks: Mapping[str, LoraWeights], weights: Weights, rank: int | None
) -> tuple[Dataset[LoraFile], float]:
    """Write a stack as one LoRA file below `folder`; return it, and what share of the squared change it has kept.

    rank: None: that of the LoRA with the highest.
    """
    stack: Stack = [(network, weights[name]) for name, network in networks.items()]
    merged = merge(stack, rank or largest_rank(stack))
    (folder / "files").mkdir(parents=True, exist_ok=True)
    save_kohya(folder / "files" / "merged.safetensors", merged.weights, KEY_FORMATS[like.family])
    row = like.model_copy(update={"id": MERGED, "name": MERGED, "weights": "merged.safetensors"})
    return Dataset(LoraFile, folder, [row]), merged.kept


def drawn_rows(
    out: Path,
    variants: Mapping[OtherWay, Variant],
    weights: Mapping[str, Weights],
    prompt: str,
    members: Sequence[LoraFile],
    sampling: ComposeLorasConfig,
) -> Iterator[WayPicture]:
    """Yield what was drawn by other ways than the sum."""
    cells = list(product(variants.items(), sampling.seeds))
    names = [keep_generated(out, variant.name, 0, seed) for (_, variant), seed in cells]
    findings = findings_of(sampling.judge, members, [read_rgb(out / name) for name in names])
    for ((method, variant), seed), name, found in zip(cells, names, findings, strict=True):
        yield WayPicture(
            id=f"{seed}:{method}",
            variant=method,
            weights=lora_weights(weights[ALL] if method == "merged" else variant.weights),
            prompt=prompt,
            seed=seed,
            image=name,
            findings=found,
        )


def write_ways(
    folder: Path,
    rows: Sequence[WayPicture],
    variants: Mapping[OtherWay, Variant],
    left_out: Mapping[OtherWay, str],
    kept: float | None,
) -> None:
    """Write the numbers as JSON, and the same in words and a table as Markdown."""
    ways = ways_of(rows, {name: variant.blocks for name, variant in variants.items()})
    numbers = StackingWays(
        seeds=len({row.seed for row in rows}),
        ways=ways,
        left_out=dict(left_out),
        kept=kept,
        verdicts=verdicts(ways, left_out),
    )
    (folder / FILE).write_text(numbers.model_dump_json(indent=1) + "\n", encoding="utf-8")
    lines = ["# Ways of stacking", "", *(f"- {line}" for line in numbers.verdicts), ""]
    judged = ways[0].found
    lines += ["| way | weights | " + " | ".join([*judged, "all found", "joint score", "to the sum"]) + " |"]
    lines += ["|---" * (len(judged) + 5) + "|"]
    for way in ways:
        figures = [f"{share:.0%}" for share in way.found.values()]
        figures.append("" if way.all_found is None else f"{way.all_found:.0%}")
        figures.append("" if way.score is None else f"{way.score:.2f}")
        figures.append("" if way.change is None else said(way.change))
        lines.append(f"| {' | '.join([NAMES[way.name], weights_in_words(way), *figures])} |")
    (folder / WORDS).write_text("\n".join(lines) + "\n", encoding="utf-8")
