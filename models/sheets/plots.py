"""Plots by matplotlib, in the sheets' style, as pictures."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from models.sheets.drawing import Picture, Size

_DPI = 100


def plots(size: Size, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of this many pixels and its plots, beside one another."""
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI, layout="constrained")
    row: list[Axes] = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in row:
        axes.grid(visible=True, color="#eef0f3")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, row


def legend(axes: Axes, size: float = 10, place: Literal["best", "upper right"] = "best") -> None:
    """Name the lines on a ground that keeps lines and marks behind from crossing the words."""
    axes.legend(loc=place, fontsize=size, framealpha=0.9, edgecolor="none")


def drawn(figure: Figure) -> Picture:
    """Return the figure as an RGB picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())  # type: ignore[no-untyped-call]
