"""Draw pictures with stacks of LoRAs: `python -m models.diffusion.generate REQUEST.json`.

One PNG for each variant, prompt and seed. Those that exist are kept, so that the same command goes on where it stopped.
"""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from data_contracts.generation import GenerateRequest, Variant, picture_name
from data_contracts.whole_file import whole_file
from models.child import Stopped, emit, prepare_torch, run_child, stop_requested
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.families import DiffusionModel
from models.diffusion.lora_stack import add_lora
from models.diffusion.stacking import Batch, sample_stacked
from models.diffusion.textual_inversion import add_embedding
from models.pictures import encode_png

Cell = tuple[int, int]  # the number of the prompt, the seed


def generate(request_file: Path) -> None:
    """Draw the pictures that the request asks for and that are not there yet.

    Pictures are always grouped in the same batches, whichever exist: a different batch size rounds differently.

    Raises:
        InputFault: the base model or a LoRA does not fit, or a prompt is too long.
        Stopped: SIGTERM came; finished pictures stay.
    """
    request = GenerateRequest.model_validate_json(request_file.read_text(encoding="utf-8"))
    prepare_torch(request.threads, deterministic=False)
    request.output.mkdir(parents=True, exist_ok=True)
    total = len(request.variants) * len(request.prompts) * len(request.seeds)
    waiting = [(variant, batch) for variant, batch in _batches(request) if _missing(request, variant, batch)]
    done = total - sum(len(_missing(request, variant, batch)) for variant, batch in waiting)
    emit("progress", pictures=done, of=total)
    if waiting:
        model = load_base(request.base, request.precision, clip_skip=request.clip_skip)
        for lora in request.loras:
            if lora.path is not None:
                add_lora(model, lora.path, lora.name)
            if lora.embedding is not None:
                add_embedding(model, lora.embedding, lora.name)
    for variant, batch in waiting:
        if stop_requested():
            message = f"stopped, {done} of {total} pictures are drawn: the same command goes on from there"
            raise Stopped(message)
        for path in _draw(model, request, variant, batch):
            done += 1
            emit("picture", image=str(path), pictures=done, of=total)
    emit("done", pictures=total, folder=str(request.output))


def _batches(request: GenerateRequest) -> Iterator[tuple[Variant, list[Cell]]]:
    for variant in request.variants:
        cells = list(product(range(len(request.prompts)), request.seeds))
        for start in range(0, len(cells), request.batch):
            yield variant, cells[start : start + request.batch]


def _missing(request: GenerateRequest, variant: Variant, batch: list[Cell]) -> list[Cell]:
    return [cell for cell in batch if not (request.output / picture_name(variant.name, *cell)).exists()]


def _draw(model: DiffusionModel, request: GenerateRequest, variant: Variant, batch: list[Cell]) -> Iterator[Path]:
    """Draw one batch; write, and yield, the pictures that were missing."""
    drawing = Drawing(request.steps, request.guidance, request.size, width=request.width)
    prompts = [request.prompts[prompt] for prompt, _ in batch]
    asked = Batch(prompts, request.negative_prompt, [seed for _, seed in batch])
    pictures = sample_stacked(model, variant, asked, drawing)
    missing = _missing(request, variant, batch)
    for cell, picture in zip(batch, pictures, strict=True):
        if cell in missing:
            path = request.output / picture_name(variant.name, *cell)
            with whole_file(path) as beside:
                beside.write_bytes(encode_png(picture))
            yield path


if __name__ == "__main__":
    sys.exit(run_child(generate))
