"""Draw the evaluation suite: the same prompts and seeds without one LoRA, and with it at each strength."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.generation import Variant
from data_contracts.lora_stages import DrawSuiteConfig
from data_contracts.records import Rejected
from data_contracts.results import LoraFile, SuitePicture
from tasks.pictures_job import generate, keep_generated
from tasks.stage import stage


@stage(SuitePicture, version=2)
def draw_suite(
    out: Path, loras: Dataset[LoraFile], base: Path, config: DrawSuiteConfig
) -> Iterator[SuitePicture | Rejected]:
    """Yield a picture for each prompt and seed at each strength, those at strength 0 first."""
    (lora,) = loras.rows
    variants = {
        strength: Variant(name=f"strength {strength:g}", weights={lora.name: strength} if strength else {})
        for strength in (0.0, *config.strengths)
    }
    prompts = tuple(prompt.text for prompt in config.prompts)
    generate(out.parent / "job", base, loras, tuple(variants.values()), prompts, config)
    for strength, (number, prompt), seed in product(variants, enumerate(config.prompts), config.seeds):
        yield SuitePicture(
            id=f"{lora.name}:{number:02}:{seed}:{strength:g}",
            category=prompt.category,
            prompt=prompt.text,
            seed=seed,
            strength=strength,
            image=keep_generated(out, variants[strength].name, number, seed),
        )
