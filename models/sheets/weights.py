"""The sheet of a search for stacking weights: how the stack does at each weight of each LoRA."""

from collections.abc import Sequence

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.results import WeightTrial
from models.sheets.drawing import Picture, Size
from models.sheets.page import Page, Section, Tile, draw_page
from models.sheets.plots import drawn, legend, plots

_RECOMMENDED, _CONFIGURED, _OTHER, _SPREAD = "#1b7a43", "#1b1e24", "#2176d6", "#d5e3f5"


def weights_sheet(trials: Dataset[WeightTrial], *inputs: object) -> Picture | None:  # noqa: ARG001  a sheet is given all
    """Plot for each LoRA its weight in every trial against the stack's score, the recommended set in green."""
    if not len(trials):
        return None
    (best,) = (trial for trial in trials if trial.recommended)
    tiles = [
        Tile(lambda size, n=number: weight_plot(trials.rows, n, size), f"{each.lora}: {each.weight:g} is recommended")  # type: ignore[misc]
        for number, each in enumerate(best.weights)
    ]
    note = (
        f"joint score of {len(best.seeds)} seeds and its standard error · {len(trials)} sets were tried · "
        f"the best one is so in {best.best_in:.0%} of the draws of the seeds"
    )
    columns = (min(4, len(tiles)),)
    page = Page("Stacking weights", "", note, aspect=0.9, columns=columns)
    return draw_page(page, [Section(tiles)])


def weight_plot(trials: Sequence[WeightTrial], lora: int, size: Size) -> Picture:
    """Plot the weight of LoRA number `lora` against each trial's score, `(size[1], size[0], 3)` RGB uint8."""
    figure, (axes,) = plots(size)
    for trial in trials:
        colour = _RECOMMENDED if trial.recommended else _CONFIGURED if trial.origin == "configured" else _OTHER
        error = np.std(trial.scores, ddof=1) / np.sqrt(len(trial.scores)) if len(trial.scores) > 1 else 0.0
        at = trial.weights[lora].weight
        axes.errorbar(
            at, trial.score, yerr=error, color=colour, ecolor=_SPREAD, marker="o", zorder=2 + trial.recommended
        )
    labels = {"recommended": _RECOMMENDED, "configured": _CONFIGURED, "tried": _OTHER}
    for label, colour in labels.items():
        axes.plot([], [], color=colour, marker="o", linestyle="", label=label)
    axes.set(xlabel=f"weight of {trials[0].weights[lora].lora}", ylabel="joint score")
    axes.set_ylim(bottom=0)
    legend(axes, size=8)
    return drawn(figure)
