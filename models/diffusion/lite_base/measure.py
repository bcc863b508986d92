"""What the `lite` base model can do, on stills and captions that it never saw."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from models.diffusion import sd15
from models.diffusion.drawing import Drawing
from models.metrics.psnr import psnr_db
from models.metrics.world_probe.judge import WorldProbe
from models.pictures import Picture
from models.stills import SIZE, Still, Stills, unit_range

STEPS = 25
GUIDANCE = 4.0
BATCH = 16
JUDGED = ("kind", "shot", "pose", "expression", "top")
GRID_COLUMNS = 8


def measure_autoencoder(model: sd15.StableDiffusion, held_out: Stills) -> dict[str, float]:
    """Return the pooled PSNR in dB of the held-out stills after the way through the latents."""
    error = 0.0
    with torch.no_grad():
        for part in held_out.pictures.split(BATCH):
            returned = model.vae.decode(model.vae.encode(unit_range(part)).latent_dist.mode()).sample
            levels = returned.add(1).mul(127.5).clamp(0, 255).round()
            error += float((levels - part.float()).square().sum())
    pixels = len(held_out.pictures) * SIZE * SIZE
    decibels = psnr_db(error, pixels)
    return {"autoencoder_psnr_db": round(decibels or 0.0, 2)}


def measure_prompts(
    model: sd15.StableDiffusion, held_out: Stills, count: int, grid: Path | None = None
) -> dict[str, float]:
    """Return, of `count` held-out captions, the share of pictures in which the probe finds each attribute."""
    stills = list(held_out.stills)[:count]
    drawing = Drawing(STEPS, GUIDANCE, SIZE)
    pictures: list[Picture] = []
    for start in track(range(0, len(stills), BATCH), "drawing"):
        part = stills[start : start + BATCH]
        seeds = [start + place for place in range(len(part))]
        pictures += model.sample([still.caption for still in part], "", seeds, drawing)
    if grid is not None:
        save_grid(pictures[: 4 * GRID_COLUMNS], grid)
    return found_shares(stills, WorldProbe().answers(pictures))


def found_shares(stills: Sequence[Still], answers: Sequence[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Return the share of right answers for each judged attribute, and on how many pictures it was judged.

    Expressions are judged on close-ups, colours on plain tops: the probe itself tells them apart there.
    """
    figures: dict[str, float] = {}
    for name in JUDGED:
        pairs = [
            (getattr(still, name), max(answer[name], key=answer[name].__getitem__))
            for still, answer in zip(stills, answers, strict=True)
            if getattr(still, name) is not None and _is_judged(still, name)
        ]
        figures[name] = round(sum(wanted == seen for wanted, seen in pairs) / len(pairs), 3)
        figures[f"{name}_pictures"] = len(pairs)
    return figures


def _is_judged(still: Still, name: str) -> bool:
    if name == "expression":
        return still.shot == "close"
    return name != "top" or still.stripe is None


def save_grid(pictures: Sequence[Picture], path: Path) -> None:
    """Write the pictures as one, GRID_COLUMNS a row."""
    rows = [
        np.concatenate(pictures[start : start + GRID_COLUMNS], axis=1)
        for start in range(0, len(pictures) - GRID_COLUMNS + 1, GRID_COLUMNS)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)
