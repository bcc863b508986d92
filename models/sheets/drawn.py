"""What validations drew: how likeness, prompt, diversity and copies went, and the pictures, a row for each caption."""

from collections.abc import Callable, Mapping, Sequence

from data_contracts.dataset import Dataset
from data_contracts.results import LoraFile
from data_contracts.validations import Drawn, Validation
from models.sheets.drawing import Picture, Size, evenly, fit, read
from models.sheets.page import CONTENT, Page, Section, Tile, draw_page
from models.sheets.plots import drawn, plots

CURVES: Size = (CONTENT, 250)
COPIES = "copies of learnt pictures"
MOST_STEPS = 8
MOST_CAPTIONS = 6
MEASURES: Mapping[str, Callable[[Drawn], float | None]] = {
    "likeness to held-out pictures": lambda found: found.mean_likeness,
    "likeness to the caption": lambda found: found.mean_text,
    "pictures that differ": lambda found: found.diversity,
    COPIES: lambda found: found.copies,
}


def drawn_curves(course: Sequence[Validation], row: LoraFile, size: Size) -> Picture:
    """Plot what was measured on drawn pictures, `(size[1], size[0], 3)` RGB uint8; a line marks the chosen step."""
    found = {each.step: each.drawn for each in course if each.drawn is not None}
    known = {
        name: values
        for name, of in MEASURES.items()
        if (values := [(step, value) for step, each in found.items() if (value := of(each)) is not None])
    }
    figure, columns = plots(size, max(1, len(known)))
    for axes, (name, values) in zip(columns, known.items(), strict=False):
        axes.plot(*zip(*values, strict=True), color="#2176d6", linewidth=2, marker="o")
        axes.axvline(row.chosen_step or row.steps, color="#1b7a43", linestyle="--")
        axes.set(xlabel="step", title=name)
        if name == COPIES:  # whole pictures, mostly none
            axes.set_ylim(0, 1 + max(value for _, value in values))
    return drawn(figure)


def drawn_parts(loras: Dataset[LoraFile], row: LoraFile, course: Sequence[Validation]) -> list[Picture]:
    """Show the figures, then each caption at several steps, the base model's first; empty where nothing was drawn."""
    found = {each.step: each.drawn for each in course if each.drawn is not None}
    if not found:
        return []
    figures = Page("Drawn while training", "", "held-out captions", CURVES[1] / CURVES[0], (1,), text_lines=0)
    parts = [
        draw_page(figures, [Section([Tile(lambda size: drawn_curves(course, row, size))])]),
        _grid(loras, row, found),
    ]
    return [part for part in parts if part is not None]


def _grid(loras: Dataset[LoraFile], row: LoraFile, found: Mapping[int, Drawn]) -> Picture | None:
    pictures: dict[int, list[str]] = {}
    for step, name in zip(row.drawn_steps, row.drawn, strict=True):
        pictures.setdefault(step, []).append(name)
    steps = shown(list(found), row)

    def tile(step: int, place: int) -> Tile:
        path = loras.path(pictures[step][place])
        return Tile(lambda size: fit(read(path), size), _words(step, found[step], place))

    captions = evenly(list(enumerate(row.drawn_captions)), MOST_CAPTIONS)
    rows = [Section([tile(step, place) for step in steps], caption) for place, caption in captions]
    note = "the same noise in each row; below: step, likeness to held-out pictures"
    return draw_page(Page("The pictures", "pictures", note, columns=(max(4, len(steps)),)), rows)


def shown(steps: Sequence[int], row: LoraFile) -> list[int]:
    """Return at most MOST_STEPS steps at even distances, that of the LoRA's weights among them."""
    chosen = row.chosen_step or row.steps
    shown = evenly(steps, MOST_STEPS)
    if chosen in steps and chosen not in shown:
        shown[min(range(1, len(shown) - 1), key=lambda place: abs(shown[place] - chosen))] = chosen
    return sorted(shown)


def _words(step: int, found: Drawn, place: int) -> str:
    said = [f"step {step}" if step else "base"]
    if found.likeness:
        said.append(f"{found.likeness[place]:.3f}")
    if found.copying and found.copying[place].is_copy:
        said.append("copy")
    return " · ".join(said)
