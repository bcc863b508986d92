"""Two runs side by side, from the command line."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from data_contracts.comparison import Comparison

NAMED = "a run's name, a beginning that no other has, `latest`, or `latest~1`, the one before"


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help=f"The earlier run: {NAMED}; see `gallery`.")],
    run_b: Annotated[
        str,
        typer.Argument(metavar="RUN_B", help="The run held against it; PROJECT_FILE:RUN or WORKSPACE:RUN look there."),
    ],
    config: Annotated[
        Path, typer.Option("--config", metavar="CONFIG", help="The project file whose runs they are.")
    ] = Path("configs/luca.yaml"),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers here too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page to write; without it, one beside RUN_B's report.")
    ] = None,
) -> None:
    """Say whether a run's LoRAs are better or worse than another's, picture by picture from the same seeds.

    Differences have 95 % intervals, and are called better or worse only where chance hardly explains them, all
    comparisons counted. The page shows the pictures that changed most, and what differs between the runs. The exit
    code is 2 where they share no seed, or no LoRA.
    """
    from flows.comparison.compare_runs import compare_runs  # noqa: PLC0415
    from flows.comparison.find_run import find_run  # noqa: PLC0415
    from flows.reports.comparison import write_comparison  # noqa: PLC0415

    a, b = find_run(run_a, config), find_run(run_b, config)
    compared = compare_runs(a, b)
    beside = b.workspace / "reports" / b.record.name / f"compared-with-{a.record.name}.html"
    page = write_comparison(compared, out or beside)
    print_comparison(compared.numbers)
    if json_file:
        json_file.write_text(compared.numbers.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(f"page: {os.path.relpath(page)}")


def print_comparison(numbers: "Comparison") -> None:
    """Print the scores that have a good direction, what was set otherwise, and how many are better and worse."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from flows.comparison.score_words import BY, chance, number, only_judge, signed, verdict_of  # noqa: PLC0415

    console = Console()
    judged = [score for score in numbers.scores if score.verdict != "not judged"]
    judge = only_judge(numbers)
    title = f"B: {numbers.b.name} against A: {numbers.a.name}" + (f", judged by {judge}" if judge else "")
    rule = f"chance: of so large a difference where nothing differs, corrected for {len(judged)} comparisons"
    table = Table(title=title, caption=rule, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("made with", "score", "A", "B", "B less A", "95 % interval", "pairs", "chance", "B is"):
        table.add_column(name, overflow="fold", no_wrap=name in {"A", "B", "B less A", "pairs", "chance"})
    for before, score in zip((None, *judged), judged, strict=False):
        if before is None or before.of != score.of:
            table.add_section()
            table.add_row(f"[bold]{score.of}[/bold]")
        ends = "" if score.low is None or score.high is None else f"{signed(score.low)} to {signed(score.high)}"
        means = (number(score.mean_a), number(score.mean_b), signed(score.difference))
        colour = {"better": "green", "worse": "red"}.get(score.verdict, "default")
        verdict = f"[{colour}]{score.verdict}[/{colour}]"
        measure = score.measure.removesuffix(BY + judge)
        table.add_row(score.variant, measure, *means, ends, str(score.pairs), chance(score.chance), verdict)
    if judged:
        console.print(table)
    print_differences(numbers, console)
    for note in numbers.notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    if numbers.same:
        same = f"the same pictures and scores in both: {'; '.join(numbers.same)}"
        console.print(same, soft_wrap=True, highlight=False, markup=False)
    console.print(f"B: {verdict_of(numbers)}", style="bold", highlight=False)


def print_differences(numbers: "Comparison", console: "Console") -> None:
    """Print what was set or put in otherwise; results that only follow from it are on the page."""
    from flows.comparison.score_words import where  # noqa: PLC0415

    causes = [each for each in numbers.differences if each.kind != "result"]
    if not causes:
        console.print("settings, inputs and software are the same, as far as the runs' records say")
    for each in causes:
        line = f"{each.what}: {each.a} → {each.b}  ({where(each.stages)})"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
