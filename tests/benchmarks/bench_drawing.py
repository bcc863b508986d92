"""Pictures drawn in batches beside the same one by one, and LoRAs folded into the weights beside LoRAs that are not.

In turns, in CPU time of one thread. The lite base model, as the demo draws with it: 128 pixels, 25 steps, with
guidance; without a LoRA, with stacks, and with the ways of stacking that ask the denoiser several times a step.
"""

import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch

from data_contracts.generation import Variant
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.families import DiffusionModel
from models.diffusion.lora_file import AdapterSize
from models.diffusion.lora_stack import add_lora, set_lora_weights
from models.diffusion.stacking import Batch, sample_stacked
from tests.models.family_runs import add_random_adapter, save_adapter

BASE = Path(__file__).parents[2] / "models/diffusion/lite_base/weights"
PICTURES = int(os.environ.get("BENCH_PICTURES", "16"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
STEPS = int(os.environ.get("BENCH_STEPS", "25"))
PROMPT = "3d animation, a boy with brown curly hair, standing, on a beach with a red parasol, full body, front view"
STACK = {"a": 1.0, "b": 0.8}
VARIANTS = (
    Variant(name="no LoRA"),
    Variant(name="two LoRAs, summed", weights=STACK),
    Variant(name="two LoRAs, LoRA Switch", weights=STACK, method="switch"),
    Variant(name="two LoRAs, LoRA Composite", weights=STACK, method="composite"),
)
AT_LEAST = 1.5


def cpu_seconds(model: DiffusionModel, variant: Variant, batch: int) -> float:
    """Return the CPU time in which all pictures are drawn, `batch` at once."""
    before = time.process_time()
    for start in range(0, PICTURES, batch):
        seeds = range(start, min(start + batch, PICTURES))
        sample_stacked(model, variant, Batch([PROMPT] * len(seeds), "", seeds), Drawing(STEPS, 2.0, 128))
    return time.process_time() - before


def beside_seconds(model: DiffusionModel, variant: Variant) -> float:
    """Return the CPU time in which all pictures are drawn at once by LoRAs that work beside their layers."""
    before = time.process_time()
    set_lora_weights(model, variant.weights)
    model.sample([PROMPT] * PICTURES, "", range(PICTURES), Drawing(STEPS, 2.0, 128))
    return time.process_time() - before


def print_row(name: str, pairs: Sequence[Sequence[float]]) -> float:
    """Print a line of a table: seconds of the one way and the other; return how many times as fast the other is."""
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(before / after for before, after in pairs)
    gain = statistics.median(ratios)
    print(f"| {name} | {one:.2f} | {other:.2f} | {gain:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |", flush=True)
    return gain


def model_with(names: Iterable[str], folder: Path) -> DiffusionModel:
    """Return the lite base with the same random LoRA under several names."""
    model, size = load_base(BASE, device="cpu"), AdapterSize(16, 16.0, 8, 8.0)
    add_random_adapter(model, size)
    file = save_adapter(model, size, folder / "lora.safetensors")
    model = load_base(BASE, device="cpu")
    for name in names:
        add_lora(model, file, name)
    return model


@pytest.mark.timeout(7200)
def test_batches_are_faster(tmp_path):
    torch.set_num_threads(1)
    model, gains = model_with(STACK, tmp_path), {}
    print(f"\n| {PICTURES} pictures | one by one, CPU s | {PICTURES} at once | times as fast |\n|---|---|---|---|")
    for variant in VARIANTS:
        cpu_seconds(model, variant, PICTURES)  # what is allocated once
        pairs = [[cpu_seconds(model, variant, batch) for batch in (1, PICTURES)] for _ in range(ROUNDS)]
        gains[variant.name] = print_row(variant.name, pairs)
    assert min(gains.values()) >= AT_LEAST, gains


@pytest.mark.timeout(7200)
def test_folded_loras_are_faster(tmp_path):
    torch.set_num_threads(1)
    model = model_with("abcd", tmp_path)
    print(f"\n| LoRAs | {PICTURES} at once, beside their layers, CPU s | folded | times as fast |\n|---|---|---|---|")
    for count in (1, 2, 4):
        variant = Variant(name=f"{count}", weights=dict.fromkeys("abcd"[:count], 0.8))
        cpu_seconds(model, variant, PICTURES)  # what is allocated once
        pairs = [[beside_seconds(model, variant), cpu_seconds(model, variant, PICTURES)] for _ in range(ROUNDS)]
        assert print_row(variant.name, pairs) > 1
