"""The report of a run: one HTML file that shows what came out, and for every stage what was kept, refused and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

from data_contracts.dataset import read_rows
from data_contracts.manifest import Manifest
from data_contracts.records import Record, Rejected
from data_contracts.results import CharactersPicture, Evaluation, LoraFile, StackPicture, SuiteScores, WayPicture
from flows.reports.composition import Stacked, Together, Ways, figure_of, stacked_of, together_of, ways_of
from flows.reports.datasets import DataSet, data_set_of
from flows.reports.elsewhere import prompt_to_paste
from flows.reports.graph import NODE_HEIGHT, NODE_WIDTH, lay_out
from flows.reports.pages import page_template, write_page
from flows.reports.pictures import Embedded, embed
from flows.reports.suites import Suite, suites_of
from tasks.run_record import RunRecord, StageUse

R = TypeVar("R", bound=Record)
DAMAGED = "film_damaged"


@dataclass(frozen=True)
class Reason:
    """How many items a rule refused, and the numbers that decided."""

    name: str
    items: int
    values: tuple[float, float, float] | None  # smallest, median, largest


@dataclass(frozen=True)
class Section:
    """A stage of the run, as the report shows it."""

    anchor: str
    use: StageUse
    manifest: Manifest
    came_in: int | None  # None where a stage reads files, not another stage's rows
    reasons: tuple[Reason, ...]
    sheet: Embedded | None
    data_set: DataSet | None
    shown_at: str  # title of the section that shows the same result already, else empty

    @property
    def title(self) -> str:
        """The stage in words, and what it was for."""
        return title_of(self.use)


@dataclass(frozen=True)
class Found:
    """In what share of the pictures the judge found a LoRA's subject: of those made without it, and with it."""

    without: float
    by_it: float
    pictures: int  # of each kind


@dataclass(frozen=True)
class Trained:
    """A LoRA that came out, and the folder of its file below the workspace."""

    row: LoraFile
    folder: str
    found: Found | None  # None where nothing was judged


@dataclass(frozen=True)
class Variant:
    """A set of weights of the composition test."""

    name: str
    weights: str
    changed: float
    pictures: int
    found: dict[str, float]  # share of the pictures in which the judge found it, by LoRA
    all_found: float | None  # None where nothing was judged


@dataclass(frozen=True)
class Outcome:
    """What the stages of a run left behind."""

    sections: tuple[Section, ...]
    loras: tuple[Trained, ...]
    compositions: tuple[Section, ...]
    variants: tuple[Variant, ...]
    stacks: tuple[Stacked, ...]
    prompts: tuple[str, ...]  # of the stack, as other programs read them
    ways: tuple[Ways, ...]
    together: tuple[Together, ...]
    suites: tuple[Suite, ...]
    damages: tuple[Rejected, ...]
    unfinished: tuple[str, ...]


def write_report(workspace: Path, run: RunRecord, title: str) -> Path:
    """Write the report of a run, finished or not, to `reports/<run>/report.html` and copy it to `report.html`.

    Args:
        workspace: where the stages' results are.
        run: which of them the run used.
        title: the page's heading.

    Returns:
        The path of the run's own report.
    """
    page = render(collect(workspace, run), run, title)
    path = workspace / "reports" / run.name / "report.html"
    for target in (path, workspace / "report.html"):
        write_page(page, target, run.name)
    return path


def render(outcome: Outcome, run: RunRecord, title: str) -> str:
    """Return the report as one HTML text."""
    return page_template("report.html.j2").render(
        title=title,
        run=run,
        outcome=outcome,
        graph=lay_out(run.stages),
        node=(NODE_WIDTH, NODE_HEIGHT),
        by_use={(section.use.key, section.use.label): section for section in outcome.sections},
        words_of=words_of,
        as_json=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    )


def collect(workspace: Path, run: RunRecord) -> Outcome:
    """Read what the run's stages left in the workspace; a stage without a manifest has not finished."""
    manifests = {
        use.key: manifest for use in run.stages if (manifest := Manifest.load(workspace / use.key)) is not None
    }
    done = [use for use in run.stages if use.key in manifests]
    sheets = [path for use in done if (path := workspace / use.key / "sheet.jpg").is_file()]
    pictures = embed([*sheets, *(path for use in done for path in figure_of(workspace / use.key))])
    refused = {use.key: read_rows(workspace / use.key / "rejected.parquet", Rejected) for use in done}
    shown: dict[str, str] = {}
    sections = []
    for number, use in enumerate(done):
        section = Section(
            anchor=f"stage-{number}",
            use=use,
            manifest=manifests[use.key],
            came_in=sum(manifests[key].counts.kept for key in use.parents if key in manifests) if use.parents else None,
            reasons=reasons_of(refused[use.key]),
            sheet=pictures.get(workspace / use.key / "sheet.jpg"),
            data_set=data_set_of(workspace / use.key) if use.stage == "assemble_dataset" else None,
            shown_at=shown.get(use.key, ""),
        )
        shown.setdefault(use.key, section.title)
        sections.append(section)
    evaluated = [key for key in shown if manifests[key].record == Evaluation.__name__]
    found = found_by_lora([row for key in evaluated for row in _records(workspace / key, Evaluation)])
    trained = [key for key in shown if manifests[key].record == LoraFile.__name__]
    stacked = [key for key in shown if manifests[key].record == StackPicture.__name__]
    tested = [key for key in shown if manifests[key].record == SuiteScores.__name__]
    compared = [key for key in shown if manifests[key].record == WayPicture.__name__]
    crowded = [key for key in shown if manifests[key].record == CharactersPicture.__name__]
    loras = [(row, key) for key in trained for row in _records(workspace / key, LoraFile)]
    pictured = {key: _records(workspace / key, StackPicture) for key in stacked}
    made = {row.name: (row, workspace / key / "files") for row, key in loras}
    return Outcome(
        sections=tuple(sections),
        loras=tuple(Trained(row, key, found.get(row.name)) for row, key in loras),
        compositions=tuple(section for section in sections if section.use.key in stacked and not section.shown_at),
        ways=tuple(each for key in compared for each in ways_of(workspace / key, pictures)),
        together=tuple(each for key in crowded for each in together_of(workspace / key, pictures)),
        suites=tuple(each for key in tested for each in suites_of(workspace / key, pictures)),
        variants=tuple(each for rows in pictured.values() for each in variants_of(rows)),
        prompts=tuple(filter(None, (prompt_to_paste(rows, made) for rows in pictured.values()))),
        stacks=tuple(each for key in stacked for each in stacked_of(workspace / key, pictures)),
        damages=tuple(row for key in shown for row in refused[key] if row.reason == DAMAGED),
        unfinished=tuple(title_of(use) for use in run.stages if use.key not in manifests),
    )


def _records(folder: Path, record: type[R]) -> tuple[R, ...]:
    return read_rows(folder / "records.parquet", record)


def reasons_of(refused: Sequence[Rejected]) -> tuple[Reason, ...]:
    """Count refused items by reason, most frequent first, with the range of the numbers that decided."""
    grouped: dict[str, list[Rejected]] = {}
    for row in refused:
        grouped.setdefault(row.reason, []).append(row)
    reasons = []
    for name, rows in sorted(grouped.items(), key=lambda group: (-len(group[1]), group[0])):
        values = [row.value for row in rows if row.value is not None]
        reasons.append(Reason(name, len(rows), (min(values), median(values), max(values)) if values else None))
    return tuple(reasons)


def found_by_lora(pictures: Sequence[Evaluation]) -> dict[str, Found]:
    """Return for each LoRA that was judged what was found in the pictures without it and with it."""
    answers: dict[str, tuple[list[bool], list[bool]]] = {}
    for row in pictures:
        for finding in row.findings:
            answers.setdefault(finding.lora, ([], []))[bool(row.weights)].append(finding.is_found)
    return {
        name: Found(fmean(without), fmean(by_it), len(by_it))
        for name, (without, by_it) in answers.items()
        if without and by_it
    }


def variants_of(pictures: Sequence[StackPicture]) -> tuple[Variant, ...]:
    """Return the sets of weights in order of first appearance, with what their pictures show on the average."""
    grouped: dict[str, list[StackPicture]] = {}
    for row in pictures:
        grouped.setdefault(row.variant, []).append(row)
    return tuple(
        Variant(
            name,
            ", ".join(f"{weight.lora} {weight.weight:g}" for weight in rows[0].weights) or "no LoRA",
            fmean(row.changed for row in rows),
            len(rows),
            {
                finding.lora: fmean(row.findings[place].is_found for row in rows)
                for place, finding in enumerate(rows[0].findings)
            },
            fmean(all(finding.is_found for finding in row.findings) for row in rows) if rows[0].findings else None,
        )
        for name, rows in grouped.items()
    )


def words_of(stage: str) -> str:
    """Return a stage's name in words, such as `train LoRA`."""
    return stage.replace("_", " ").replace("lora", "LoRA")


def title_of(use: StageUse) -> str:
    """Return a stage in words, and what it was for."""
    words = words_of(use.stage)
    return f"{words[:1].upper()}{words[1:]}" + (f": {use.label}" if use.label else "")
