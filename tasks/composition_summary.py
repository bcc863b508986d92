"""What the rows of a composition test come to: numbers, sentences, tables and a figure, written beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_contracts.composition import ALL, FILE, GIVEN, Change, Composition, Effect, SearchSummary, WeightChoice
from data_contracts.dataset import Dataset
from data_contracts.results import StackPicture, WeightTrial
from models.metrics.interference import effects, redundant, said, scores_of, verdicts
from models.metrics.stacking_ways import joint_change
from models.metrics.weight_choice import best_in_draws, weight_interval
from models.sheets.composition import FIGURE, interference_figure

WORDS = "composition.md"


def composition_of(
    rows: Sequence[StackPicture],
    given: Mapping[str, float],
    shared: Mapping[tuple[str, str], float],
    search: Dataset[WeightTrial] | str,
) -> Composition:
    """Return what the pictures say of the stack.

    Args:
        rows: all pictures of the test.
        given: the configured weights, by LoRA.
        shared: by pair of LoRAs, what share of their changes either could write.
        search: the weights that were tried, or why none were.
    """
    found = effects(scores_of(rows), tuple(given))
    same = redundant(found, shared)
    searched = None if isinstance(search, str) else search_summary(search.rows, rows, given)
    return Composition(
        loras=tuple(given),
        judged=tuple(dict.fromkeys(each.lora for row in rows for each in row.findings)),
        seeds=len({row.seed for row in rows}),
        effects=found,
        redundant=same,
        search=searched,
        not_searched=search if isinstance(search, str) else "",
        verdicts=(*verdicts(found, same), *([search_verdict(searched)] if searched else [])),
    )


def search_summary(
    trials: Sequence[WeightTrial], rows: Sequence[StackPicture], given: Mapping[str, float]
) -> SearchSummary:
    """Return what the search recommends, how sure it is of it, and what that gains on the test's seeds."""
    (best,) = (trial for trial in trials if trial.recommended)
    tried = {name: np.array([trial.weights[n].weight for trial in trials]) for n, name in enumerate(given)}
    winners = best_in_draws(np.array([trial.scores for trial in trials]))
    return SearchSummary(
        trials=len(trials),
        seeds=len(best.seeds),
        score=best.score,
        certainty=best.best_in,
        weights=tuple(
            WeightChoice(lora=each.lora, given=given[each.lora], weight=each.weight, low=low, high=high)
            for each in best.weights
            for low, high in [weight_interval(tried[each.lora], winners)]
        ),
        gain=gain_of(rows),
    )


def gain_of(rows: Sequence[StackPicture]) -> Change | None:
    """Return how much better the recommended weights do than the given; None where they are the same."""
    return joint_change(*([row for row in rows if row.variant == name] for name in (ALL, GIVEN)))


def search_verdict(search: SearchSummary) -> str:
    """Return in a sentence what the search recommends, and whether that is better on seeds that it has not seen."""
    if search.gain is None:
        return f"none of {search.trials} sets of weights does better than the given one"
    weights = ", ".join(f"{each.lora} {each.weight:g}" for each in search.weights)
    change = said(search.gain)
    if search.gain.is_higher:
        return f"{weights} does better than the given weights, on seeds that the search has not seen: {change}"
    if search.gain.is_lower:
        return f"{weights} looked best in the search but does worse than the given weights on new seeds: {change}"
    return f"{weights} looked best in the search; on new seeds chance may be all that it gains: {change}"


def write_composition(folder: Path, composition: Composition) -> None:
    """Write the numbers as JSON, the same in words and tables as Markdown, and, where anything was judged, a figure."""
    (folder / FILE).write_text(composition.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / WORDS).write_text(markdown_of(composition), encoding="utf-8")
    if (figure := interference_figure(composition)) is not None:
        figure.save(folder / FIGURE, format="PNG", optimize=True)


def markdown_of(composition: Composition) -> str:
    """Return verdicts and tables as Markdown."""
    lines = ["# The stack", "", *(f"- {line}" for line in composition.verdicts), ""]
    for where, title in (
        ("stack", "What adding a LoRA to all others changes"),
        ("pair", "What adding a LoRA to one alone changes"),
        ("alone", "What a LoRA alone changes"),
    ):
        lines += effect_table(composition, title, [each for each in composition.effects if each.where == where])
    if search := composition.search:
        lines += [f"## Weights, of {search.trials} sets on {search.seeds} seeds", ""]
        lines += ["| LoRA | given | recommended | best between, in 95 of 100 draws |", "|---|---|---|---|"]
        lines += [f"| {w.lora} | {w.given:g} | {w.weight:g} | {w.low:g} to {w.high:g} |" for w in search.weights]
        lines += ["", f"These are the best in {search.certainty:.0%} of the draws of the seeds.", ""]
    else:
        lines += [f"No weights were searched for: {composition.not_searched or 'nobody asked for it'}.", ""]
    return "\n".join(lines)


def effect_table(composition: Composition, title: str, found: Sequence[Effect]) -> list[str]:
    """Return a table: a row for each subject that is looked for, a column for each LoRA that is added."""
    if not found:
        return []
    cells = {(each.of, each.by): said(each.change) for each in found}
    lines = [f"## {title}", "", "| score of | " + " | ".join(f"with {by}" for by in composition.loras) + " |"]
    lines.append("|---" * (len(composition.loras) + 1) + "|")
    rows = {of: [cells.get((of, by), "") for by in composition.loras] for of in composition.judged}
    lines += [f"| {of} | {' | '.join(row)} |" for of, row in rows.items()]
    return [
        *lines,
        "",
        f"Mean change over {found[0].change.seeds} seeds, 95 % interval; 0 to 1 is from never to always.",
        "",
    ]
