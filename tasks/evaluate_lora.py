"""Show what one LoRA does: the same prompts and seeds with it and without it."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.lora_stages import EvaluateLoraConfig
from data_contracts.records import Rejected
from data_contracts.results import Evaluation, LoraFile, lora_weights
from models.pictures import read_rgb
from models.sheets import evaluation_sheet
from models.shots.quality import sharpness
from tasks.pictures_job import change, findings_of, generate, keep_generated
from tasks.stage import stage

WITHOUT, WITH = "without", "with"


@stage(Evaluation, version=3, sheet=evaluation_sheet)
def evaluate_lora(
    out: Path, loras: Dataset[LoraFile], base: Path, config: EvaluateLoraConfig
) -> Iterator[Evaluation | Rejected]:
    """Yield a picture without and one with the LoRA for each prompt and seed."""
    (lora,) = loras.rows
    prompts = tuple(prompt.replace("{trigger}", lora.trigger) for prompt in config.prompts)
    weights = {WITHOUT: {}, WITH: {lora.name: config.weight}}
    variants = tuple(Variant(name=name, weights=each) for name, each in weights.items())
    generate(out.parent / "job", base, loras, variants, prompts, config)
    cells = list(product(range(len(prompts)), config.seeds, variants))
    names = [keep_generated(out, variant.name, number, seed) for number, seed, variant in cells]
    pictures = [read_rgb(out / name) for name in names]
    plain = {cell[:2]: picture for cell, picture in zip(cells, pictures, strict=True) if cell[2].name == WITHOUT}
    findings = findings_of(config.judge, loras.rows, pictures)
    for (number, seed, variant), name, picture, found in zip(cells, names, pictures, findings, strict=True):
        yield Evaluation(
            id=f"{lora.name}:{number:02}:{seed}:{variant.name}",
            variant=variant.name,
            weights=lora_weights(variant.weights),
            prompt=prompts[number],
            seed=seed,
            image=name,
            findings=found,
            sharpness=round(sharpness(picture), 3),
            changed=change(picture, plain[number, seed]),
        )
