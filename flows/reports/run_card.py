"""A run on a card: what came out in words, its key figures, and a small picture, kept beside the run's report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.composition import ALL
from data_contracts.dataset import read_dataset
from data_contracts.faults import StaleRows
from data_contracts.manifest import Manifest
from data_contracts.results import Evaluation, LoraFile, StackPicture, SuitePicture
from data_contracts.run_card import FILE, PICTURE, RunCard
from data_contracts.whole_file import whole_file
from flows.reports.composition import Stacked, stacked_of
from flows.reports.pages import duration
from flows.reports.report import Found, Variant, found_by_lora, title_of, variants_of
from models.sheets.contact import contact_picture, top_of
from models.sheets.drawing import Picture
from models.suite.summary import SuiteSummary, read_summary
from models.suite.words import sentence
from tasks.run_record import RunRecord

MOST_WORDS = 4
QUALITY = 82


@dataclass
class Outcome:
    """What a run's results say, as far as they are still there and of this version."""

    loras: list[str] = field(default_factory=list)
    found: dict[str, Found] = field(default_factory=dict)
    together: Variant | None = None
    stacked: list[Stacked] = field(default_factory=list)
    suites: list[SuiteSummary] = field(default_factory=list)
    pictures: dict[str, list[Path]] = field(default_factory=dict)  # by what they show, the most telling last
    sheets: dict[str, Path] = field(default_factory=dict)  # contact sheets by their stage in words
    unreadable: list[str] = field(default_factory=list)


def write_card(workspace: Path, run: RunRecord, title: str) -> RunCard:
    """Write `card.json` and `card.jpg` into the run's report folder; return the card."""
    outcome = outcome_of(workspace, run)
    shows, picture = picture_of(outcome)
    card = card_of(outcome, run, title, shows)
    folder = workspace / "reports" / run.name
    folder.mkdir(parents=True, exist_ok=True)
    if picture is not None:
        picture.save(folder / PICTURE, format="JPEG", quality=QUALITY)
    with whole_file(folder / FILE) as beside:
        beside.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return card


def card_of(outcome: Outcome, run: RunRecord, title: str, shows: str = "") -> RunCard:
    """Return a run's card; `shows` is what its picture shows, empty without one."""
    return RunCard(
        run=run.name,
        title=title,
        started_at=run.started_at,
        state=run.state,
        error=run.error,
        words=words_of(outcome, run),
        figures=figures_of(outcome, run),
        shows=shows,
    )


def picture_of(outcome: Outcome) -> tuple[str, Picture | None]:
    """Return a small picture of what a run has made, and what it shows; nothing where there is nothing to see."""
    for shows, paths in reversed(outcome.pictures.items()):
        if picture := contact_picture([path for path in paths if path.is_file()]):
            return shows, picture
    for title, sheet in reversed(outcome.sheets.items()):
        return f"contact sheet of {title}", top_of(sheet)
    return "", None


def outcome_of(workspace: Path, run: RunRecord) -> Outcome:
    """Read what a run's results say; results of other versions are named, those deleted since are left out."""
    outcome = Outcome()
    for use in run.stages:
        folder = workspace / use.key
        if (manifest := Manifest.load(folder)) is None:
            continue
        if (sheet := folder / "sheet.jpg").is_file():
            outcome.sheets[title_of(use)] = sheet
        try:
            _read(outcome, folder, manifest.record, use.label)
        except StaleRows:
            outcome.unreadable.append(use.stage)
    return outcome


def _read(outcome: Outcome, folder: Path, record: str, label: str) -> None:
    if record == LoraFile.__name__:
        outcome.loras += [row.name for row in read_dataset(folder, LoraFile)]
    elif record == Evaluation.__name__:
        rows = read_dataset(folder, Evaluation)
        outcome.found |= found_by_lora(rows.rows)
        _show(outcome, "pictures made with each LoRA alone", [rows.path(row.image) for row in rows if row.weights])
    elif record == SuitePicture.__name__:
        drawn = read_dataset(folder, SuitePicture)
        strongest = drawn.where("strength", min((row.strength for row in drawn if row.strength >= 1), default=0))
        _show(outcome, f"prompts of the suite, drawn with {label}", [drawn.path(row.image) for row in strongest])
    elif record == "SuiteScores":
        outcome.suites.append(read_summary(folder))
    elif record == StackPicture.__name__:
        stack = read_dataset(folder, StackPicture)
        outcome.together = next((each for each in variants_of(stack.rows) if each.name == ALL), None)
        outcome.stacked += stacked_of(folder, {})
        pictures = [stack.path(row.image) for row in stack.where("variant", ALL)]
        _show(outcome, "all LoRAs stacked, from several seeds", pictures)


def _show(outcome: Outcome, what: str, paths: Sequence[Path]) -> None:
    outcome.pictures[what] = [*outcome.pictures.pop(what, []), *paths]


def words_of(outcome: Outcome, run: RunRecord) -> tuple[str, ...]:
    """Return what came out in sentences: of a suite, of the stack, of the LoRAs alone; the first that there is."""
    words = [f"{each.lora}: {sentence(cell)}" for each in outcome.suites for cell in each.overall]
    words = words or [line for each in outcome.stacked for line in each.numbers.verdicts]
    words = words or [
        f"{name} is found in {found.by_it:.0%} of the pictures with it, in {found.without:.0%} without it"
        for name, found in outcome.found.items()
    ]
    if outcome.loras and not words:
        words = [f"trained {', '.join(outcome.loras)}; nobody judged the pictures"]
    if not words and not outcome.unreadable:
        words = [f"{len(run.stages)} stages were used, no LoRA was trained"]
    if len(words) > MOST_WORDS:
        words = [*words[:MOST_WORDS], f"{len(words) - MOST_WORDS} more in the report"]
    if outcome.unreadable:
        stages = ", ".join(dict.fromkeys(outcome.unreadable))
        words.append(f"another version of reel2lora wrote the results of {stages}, which are left out")
    return tuple(words)


def figures_of(outcome: Outcome, run: RunRecord) -> dict[str, str]:
    """Return the key figures of a run in words, by name."""
    figures = {"stages": str(len(run.stages)), "time": duration(sum(use.seconds for use in run.stages))}
    if outcome.loras:
        figures["LoRAs"] = str(len(outcome.loras))
    for name, found in outcome.found.items():
        figures[f"{name} found"] = f"{found.without:.0%} → {found.by_it:.0%}"
    if outcome.together is not None and outcome.together.all_found is not None:
        figures["all found at once"] = f"{outcome.together.all_found:.0%} of {outcome.together.pictures}"
    return figures
