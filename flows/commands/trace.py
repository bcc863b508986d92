"""Lineage both ways: from a LoRA to the seconds of film it has learnt from, and from a film to what hangs on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_contracts.dataset import Dataset, read_rows
from data_contracts.faults import InputFault
from data_contracts.records import Example, Frame
from flows.commands.inspect_runs import latest_run
from tasks.run_record import RunRecord, StageUse, newest_use, result_of
from tasks.shards import journal_of

console = Console()
MOST_NUMBERS = 12


def latest_examples(workspace: Path, lora: str) -> Dataset[Example] | None:
    """Return the data set that the newest run made for a LoRA; None where there is none."""
    use = newest_use(workspace, "assemble_dataset", lora)
    return None if use is None else result_of(workspace, use, Example)


def print_trace(workspace: Path, lora: str) -> None:
    """Print the films, seconds and frames that a LoRA has learnt from."""
    examples = latest_examples(workspace, lora)
    if examples is None:
        message = f"no run has made a LoRA called {lora!r}: see `reel2lora status CONFIG`"
        raise InputFault(message)
    table = Table("film", "shot", "from s", "to s", "frames learnt from", "pictures", title=f"{lora} has learnt from")
    learnt = examples.where("split", "train")
    for shot, rows in sorted(learnt.groups("shot").items()):
        numbers = sorted({row.frame for row in rows})
        times = [row.time_s for row in rows]
        spans = ", ".join(map(str, numbers[:MOST_NUMBERS])) + (" …" if len(numbers) > MOST_NUMBERS else "")
        table.add_row(rows.rows[0].film, shot, f"{min(times):.2f}", f"{max(times):.2f}", spans, str(len(rows)))
    console.print(table)
    frames = len({(row.film, row.frame) for row in learnt})
    console.print(f"{len(learnt)} pictures of {frames} frames; {len(examples) - len(learnt)} pictures are held out.")


@dataclass(frozen=True)
class Fate:
    """What happens to one stage of the latest run when a film is taken away."""

    use: StageUse
    verdict: str
    why: str


def print_without(workspace: Path, film: str) -> None:
    """Print what has to be built again when a film is taken out of the project, and what stays.

    Raises:
        InputFault: the latest run has not used the film.
    """
    run = latest_run(workspace)
    films = films_of(workspace, run)
    if film not in films:
        message = f"the latest run has no film {film!r}; it has: {', '.join(films)}"
        raise InputFault(message)
    table = Table("stage", "for", "without it", "because", title=f"{run.project} without {film}")
    for fate in fates(workspace, run, film):
        table.add_row(fate.use.stage, fate.use.label, fate.verdict, fate.why)
    console.print(table)
    console.print(f"Take {film} out of `films:` and run the project again: only this is done.")


def films_of(workspace: Path, run: RunRecord) -> list[str]:
    """Return the names of the films that a run has used, in their order."""
    uses = [use for use in run.stages if use.stage == "extract_frames"]
    rows = [row for use in uses for row in read_rows(workspace / use.key / "records.parquet", Frame)]
    return list(dict.fromkeys(row.film for row in rows))


def fates(workspace: Path, run: RunRecord, film: str) -> Iterator[Fate]:
    """Yield what becomes of each stage of a run."""
    number = films_of(workspace, run).index(film)
    learnt_from = {
        use.label: pictures_of(workspace, use, film) for use in run.stages if use.stage == "assemble_dataset"
    }
    changed = {label for label, (of_film, _) in learnt_from.items() if of_film}
    for use in run.stages:
        shards = [entry["shard"] for entry in journal_of(workspace / use.key)]
        if shards != ["all"] and shards:
            gone = [shard for shard in shards if shard.startswith(f"{film}-s") or shard == f"{number:04}"]
            verdict = f"{len(shards) - len(gone)} of {len(shards)} parts stay"
            yield Fate(use, verdict, f"{len(gone)} are of {film}; no other is computed again")
        elif use.stage in {"train_lora", "evaluate_lora", "draw_suite", "evaluate_suite"} and use.label in learnt_from:
            of_film, total = learnt_from[use.label]
            again = use.label in changed
            yield Fate(use, "again" if again else "stays", f"{of_film} of {total} pictures are of {film}")
        elif use.stage in {"search_weights", "compose_loras", "compare_stacking", "compose_characters"}:
            again = bool(changed)
            yield Fate(use, "again" if again else "stays", f"{', '.join(sorted(changed)) or 'no LoRA'} will be another")
        else:
            yield Fate(use, "again", "it looks at all films together")


def pictures_of(workspace: Path, use: StageUse, film: str) -> tuple[int, int]:
    """Return how many pictures of a data set are of a film, and how many there are."""
    rows = read_rows(workspace / use.key / "records.parquet", Example)
    return sum(row.film == film for row in rows), len(rows)
