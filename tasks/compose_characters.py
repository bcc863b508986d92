"""Several characters in one picture: their LoRAs summed, and stacked in the ways that shall keep them apart.

All from the same seeds and, but for regional prompts, from the same prompt. Each character's region of each picture is
asked who is in it, by a judge and by likeness to held-out frames. What it comes to is written beside the rows:
`characters.json`, and the same in words as `characters.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from data_contracts.characters import FILE, FOUND, LIKENESS, Characters
from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.records import Example, Rejected
from data_contracts.regions import Area, Region
from data_contracts.results import CharactersPicture, Finding, LoraFile, Sight, lora_weights
from data_contracts.stack_stages import ComposeCharactersConfig, ComposeLorasConfig
from models.diffusion.regions import covered
from models.embed import EMBEDDERS
from models.metrics.likeness import read_subject
from models.metrics.separation import Values, best_places, region_alone, separations, verdicts
from models.pictures import Picture, read_rgb
from models.sheets import characters_sheet
from tasks.compose_loras import ranked, stacked_prompt
from tasks.pictures_job import generate, judge, keep_generated
from tasks.stage import stage

WORDS = "characters.md"
DECIMALS = 4
embedder = cache(EMBEDDERS.load)


@stage(CharactersPicture, version=2, sheet=characters_sheet)
def compose_characters(
    out: Path,
    loras: tuple[Dataset[LoraFile], ...],
    examples: tuple[Dataset[Example], ...],
    base: Path,
    sampling: ComposeLorasConfig,
    config: ComposeCharactersConfig,
) -> Iterator[CharactersPicture | Rejected]:
    """Yield a picture for each seed and each way of stacking.

    examples: what each of the LoRAs has learnt from and what was held out from it, in their order.
    """
    members = [lora for each in loras for lora in each]
    people = [lora for lora in members if lora.type == "character"]
    areas = config.areas(tuple(lora.name for lora in people))
    weights = {lora.name: sampling.weights.get(lora.type, 1.0) for lora in ranked(members)}
    variants = variants_of(members, areas, weights, sampling, config)
    prompt = stacked_prompt(members, sampling.prefix, sampling.suffix)
    width = config.width_for(len(people), sampling.size)
    generate(out.parent / "job", base, loras, variants, (prompt,), sampling, sampling.negative_prompt, width)
    cells = list(product(sampling.seeds, variants))
    names = [keep_generated(out, variant.name, 0, seed) for seed, variant in cells]
    pictures = [read_rgb(out / name) for name in names]
    covers = covered(list(areas.values()), pictures[0].shape[:2])
    views = [region_alone(picture, cover) for picture in pictures for cover in covers]
    seen = measured(views, people, sampling.judge, known_looks(people, loras, examples, config.embedder))
    rows = [
        CharactersPicture(
            id=f"{seed}:{variant.name}",
            variant=variant.name,
            weights=lora_weights(variant.weights),
            prompt=prompt,
            seed=seed,
            image=name,
            findings=findings_of(sights, sampling.judge),
            sights=sights,
        )
        for (seed, variant), name, values in zip(cells, names, seen, strict=True)
        for sights in [sights_of(values, [lora.name for lora in people], told=variant.method == "regional")]
    ]
    write_characters(out.parent, rows, [lora.name for lora in people])
    yield from rows


def variants_of(
    members: Sequence[LoraFile],
    areas: Mapping[str, Area],
    weights: Mapping[str, float],
    sampling: ComposeLorasConfig,
    config: ComposeCharactersConfig,
) -> tuple[Variant, ...]:
    """Return the summed LoRAs and the other ways of stacking, all at the same weights.

    LoRAs take turns in the order of the prompt: characters first, as the paper of LoRA Switch has it.
    A region's prompt leaves the other characters out; the prompt of what no region covers leaves all of them out.
    """

    def prompt(*who: str) -> str:
        there = [lora for lora in members if lora.type != "character" or lora.name in who]
        return stacked_prompt(there, sampling.prefix, sampling.suffix)

    regions = [Region(prompt=prompt(name), loras=(name,), area=area) for name, area in areas.items()]
    square = (sampling.size, config.width_for(len(areas), sampling.size))
    if covered([*areas.values(), None], square)[-1].any():
        regions.append(Region(prompt=prompt()))
    told: Mapping[str, Mapping[str, object]] = {
        "regional": {"regions": regions, "feather": config.feather},
        "switch": {"switch_every": config.switch_every},
    }
    sets = [Variant(name="linear", weights=dict(weights))]
    for method in config.methods:
        own = told.get(method, {})
        sets.append(Variant.model_validate({"name": method, "weights": weights, "method": method, **own}))
    return tuple(sets)


@dataclass(frozen=True)
class Looks:
    """How each character looks to an embedder: the mean of his held-out frames, `(characters, d)`."""

    embedder: str
    means: Values


def known_looks(
    people: Sequence[LoraFile],
    loras: Sequence[Dataset[LoraFile]],
    examples: Sequence[Dataset[Example]],
    network: str | None,
) -> Looks | None:
    """Return how the characters look; None where one of them has no held-out frames, or nobody asked."""
    if network is None:
        return None
    sets = dict(zip([lora.name for each in loras for lora in each], examples, strict=True))
    means = []
    for lora in people:
        held_out = sets[lora.name].where("role", "subject").where("split", "held_out")
        pictures = [read_subject(held_out.path(row.image), held_out.optional_path(row.mask)) for row in held_out]
        if not pictures:
            return None
        means.append(embedder(network).embed(pictures).mean(axis=0))
    return Looks(network, np.array(means, np.float64))


def measured(
    views: Sequence[Picture], people: Sequence[LoraFile], judge_name: str | None, looks: Looks | None
) -> list[dict[str, Values]]:
    """Return for each picture, by measure, how much each region shows each character; what nobody knows is left out.

    views: the regions of one picture after the other, as many as there are people.
    """
    shape = (-1, len(people), len(people))
    found: dict[str, Values] = {}
    if judge_name is not None:
        asked = judge(judge_name)
        if all(asked.knows(lora.type, lora.subject) for lora in people):
            chances = asked.likelihoods(views, [(lora.type, lora.subject) for lora in people])
            found[f"{FOUND} {judge_name}"] = np.array(chances).reshape(shape)
    if looks is not None:
        found[f"{LIKENESS} {looks.embedder}"] = (embedder(looks.embedder).embed(views) @ looks.means.T).reshape(shape)
    return [{measure: values[n] for measure, values in found.items()} for n in range(len(views) // len(people))]


def sights_of(measured_values: Mapping[str, Values], names: Sequence[str], *, told: bool) -> tuple[Sight, ...]:
    """Return what each region shows of each character.

    told: whether the method knew whose region is which; otherwise they are read the way that suits the picture best,
        by the first measure.
    """
    values = list(measured_values.values())
    places = best_places(values[0]) if values and not told else tuple(range(len(names)))
    return tuple(
        Sight(region=region, lora=lora, measure=measure, value=round(float(each[place, n]), DECIMALS))
        for measure, each in measured_values.items()
        for region, place in zip(names, places, strict=True)
        for n, lora in enumerate(names)
    )


def findings_of(sights: Sequence[Sight], judge_name: str | None) -> tuple[Finding, ...]:
    """Return how likely the judge finds each character in the region that is his."""
    return tuple(
        Finding(lora=sight.lora, probability=sight.value)
        for sight in sights
        if sight.measure == f"{FOUND} {judge_name}" and sight.region == sight.lora
    )


def write_characters(folder: Path, rows: Sequence[CharactersPicture], names: Sequence[str]) -> None:
    """Write the numbers as JSON, and the same in words and a table as Markdown."""
    found = separations(rows)
    numbers = Characters(
        loras=tuple(names),
        seeds=len({row.seed for row in rows}),
        separations=found,
        verdicts=verdicts(found, names),
    )
    (folder / FILE).write_text(numbers.model_dump_json(indent=1) + "\n", encoding="utf-8")
    lines = [f"# {' and '.join(names)} in one picture", "", *(f"- {line}" for line in numbers.verdicts), ""]
    if found:
        lines += ["| way of stacking | measure | own character | another | all found |", "|---|---|---|---|---|"]
        for each in found:
            apart = "" if each.apart is None else f"{each.apart:.0%}"
            lines.append(f"| {each.method} | {each.measure} | {each.own:.2f} | {each.bleed:.2f} | {apart} |")
    else:
        lines += ["Nothing was measured: no judge that knows the characters, and no embedder."]
    (folder / WORDS).write_text("\n".join(lines) + "\n", encoding="utf-8")
