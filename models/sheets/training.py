"""The sheet of a trained LoRA: its loss, on held-out pictures too, and what it drew while it learnt."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.results import LoraFile
from data_contracts.validations import Validation, read_validations
from models.sheets.drawing import PAPER, Picture, Size, fit, read
from models.sheets.drawn import drawn_parts
from models.sheets.page import CONTENT, WIDTH, Page, Section, Tile, draw_page
from models.sheets.plots import drawn, legend, plots

CURVE: Size = (CONTENT, 360)


def lora_sheet(loras: Dataset[LoraFile], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Show the loss curve of each LoRA, raw and smoothed, and below it its training samples by step."""
    parts = [part for row in loras for part in _parts(loras, row)]
    if not parts:
        return None
    sheet = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), PAPER)
    y = 0
    for part in parts:
        sheet.paste(part, (0, y))
        y += part.height
    return sheet


def read_loss(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps and losses of a log of JSON lines."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return np.array([line["step"] for line in lines], float), np.array([line["loss"] for line in lines], float)


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean of the `window` values around each place, of fewer at both ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    first = np.maximum(0, here - (window - 1) // 2)
    last = np.minimum(len(values), here + window // 2 + 1)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def loss_curve(steps: NDArray[np.float64], losses: NDArray[np.float64], size: Size = CURVE) -> Picture:
    """Plot a loss, `(size[1], size[0], 3)` RGB uint8."""
    figure, axes = _axes(size, "loss")
    window = max(1, len(losses) // 20)
    if window > 1:
        axes.plot(steps, losses, color="#b9c3d3", linewidth=0.8, label="each step")
    label = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps, smooth(losses, window), color="#2176d6", linewidth=2, label=label)
    finite = losses[np.isfinite(losses)]
    axes.set_ylim(0, 1.1 * float(np.quantile(finite, 0.99)) if finite.any() else 1)
    legend(axes, place="upper right")
    return drawn(figure)


def validation_curve(course: Sequence[Validation], row: LoraFile, size: Size = CURVE) -> Picture:
    """Plot the loss on held-out and on learnt pictures, `(size[1], size[0], 3)` RGB uint8.

    Lines mark the step whose weights the LoRA has and, where it is another, the best one.
    """
    figure, axes = _axes(size, "loss at fixed noise")
    steps = [each.step for each in course]
    axes.plot(steps, [each.loss for each in course], color="#2176d6", linewidth=2, marker="o", label="held out")
    learnt = [(each.step, each.learnt_loss) for each in course if each.learnt_loss is not None]
    if learnt:
        axes.plot(*zip(*learnt, strict=True), color="#8b95a5", linewidth=2, marker=".", label="learnt")
    chosen = row.chosen_step or row.steps
    axes.axvline(chosen, color="#1b7a43", linestyle="--", label=f"chosen: step {chosen}")
    if row.best_step not in {None, chosen}:
        axes.axvline(row.best_step, color="#d2691e", linestyle=":", label=f"best: step {row.best_step}")
    legend(axes)
    return drawn(figure)


def _axes(size: Size, loss: str) -> tuple[Figure, Axes]:
    figure, (axes,) = plots(size)
    axes.set(xlabel="step", ylabel=loss)
    return figure, axes


def _parts(loras: Dataset[LoraFile], row: LoraFile) -> list[Picture]:
    steps, losses = read_loss(loras.path(row.loss_log))
    course = read_validations(loras.path(row.validation_log)) if row.validation_log else ()
    note = f"{row.type} · trigger “{row.trigger}” · {row.steps} steps · final loss {row.final_loss:.4f}"
    curves = [Tile(lambda size: loss_curve(steps, losses, size))]
    if course:
        curves.append(Tile(lambda size: validation_curve(course, row, size)))
        note += f" · held-out loss {_change(row.base_held_out_loss, row.held_out_loss, 4)}"
    if any(each.drawn for each in course):
        note += f" · likeness {_change(row.base_likeness, row.likeness, 3)}" if row.likeness is not None else ""
    head = draw_page(
        Page(
            f"LoRA {row.name}",
            "",
            note,
            aspect=CURVE[1] / CURVE[0] * len(curves),
            columns=(len(curves),),
            text_lines=0,
        ),
        [Section(curves)],
    )
    samples = [
        Tile(lambda size, name=name: fit(read(loras.path(name)), size), f"step {step}")  # type: ignore[misc]
        for step, name in zip(row.sample_steps, row.samples, strict=True)
    ]
    columns = (max(4, min(8, len(samples))),)
    below = Page("Samples while training", "samples", "same prompt and seed", columns=columns)
    tail = draw_page(below, [Section(samples)])
    return [part for part in (head, tail, *drawn_parts(loras, row, course)) if part is not None]


def _change(base: float | None, lora: float | None, digits: int) -> str:
    """Return what was measured of the base model and of the LoRA, as far as it was."""
    return " to ".join(f"{value:.{digits}f}" for value in (base, lora) if value is not None)
