"""The picture of a search of settings: what each trial came to, and how its loss fell on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.sheets.drawing import Picture
from models.sheets.plots import drawn, legend, plots

_SIZE = (1200, 460)
_PRESET, _BEST, _OTHER = "#1b1e24", "#1b7a43", "#b9c3d3"


@dataclass(frozen=True)
class Course:
    """One trial: its number, its held-out losses by step, and its score; None where it was not trained to its end."""

    number: int
    losses: dict[int, float]
    score: float | None


def search_sheet(courses: Sequence[Course], preset: int, best: int) -> Picture:
    """Draw a search: `preset` and `best` are the numbers of trials."""
    figure, (left, right) = plots(_SIZE, columns=2)
    _scores(left, courses, preset, best)
    _curves(right, courses, preset, best)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        legend(axes)
    return drawn(figure)


def _scores(axes: Axes, courses: Sequence[Course], preset: int, best: int) -> None:
    """Plot scores by trial, the lowest so far as a line; trials that were not trained to their end as crosses."""
    scored = [(each.number, each.score) for each in courses if each.score is not None]
    axes.scatter(*zip(*scored, strict=True), color=[_colour(number, preset, best) for number, _ in scored], zorder=3)
    lowest = np.minimum.accumulate([score for _, score in scored])
    axes.step([number for number, _ in scored], lowest, where="post", color=_BEST, label="lowest so far")
    axes.axhline(dict(scored)[preset], color=_PRESET, linestyle="--", linewidth=1, label="preset")
    ended = [(each.number, list(each.losses.values())[-1]) for each in courses if each.score is None and each.losses]
    if ended:
        axes.scatter(*zip(*ended, strict=True), color=_OTHER, marker="x", label="ended early")
    axes.set(xlabel="trial", ylabel="held-out loss")


def _curves(axes: Axes, courses: Sequence[Course], preset: int, best: int) -> None:
    names = {preset: "preset", best: f"best: trial {best}"}
    for each in sorted(courses, key=lambda course: course.number in names):
        colour, label = _colour(each.number, preset, best), names.get(each.number)
        width = 2.0 if label else 1.0
        axes.plot(list(each.losses), list(each.losses.values()), color=colour, linewidth=width, label=label)
    axes.set(xlabel="step", ylabel="held-out loss")


def _colour(number: int, preset: int, best: int) -> str:
    return _BEST if number == best else _PRESET if number == preset else _OTHER
