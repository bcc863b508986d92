"""Captions and rejections made by hand: collected from tables and edited files, kept, and applied on every run."""

import csv
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from data_contracts.dataset import Dataset
from data_contracts.decisions import Decision, read_decisions, write_decisions
from data_contracts.faults import InputFault, StaleRows
from data_contracts.project import Project
from data_contracts.records import Example
from flows.base_model import base_model
from flows.commands.trace import latest_examples
from models.caption.tokens import count_tokens, load_tokenizer
from models.diffusion import tokenizer_folder
from tasks.kohya_folder import write_kohya_folder

COLUMNS = ("picture", "verdict", "caption", "second", "film", "frame", "x0", "y0", "x1", "y1")
VERDICTS = ("keep", "reject")
console = Console()
Key = tuple[str, int, tuple[float, float, float, float]]


def decisions_file(workspace: Path, lora: str) -> Path:
    """Return where a LoRA's decisions are kept; `reel2lora clean` leaves it alone."""
    return workspace / "decisions" / f"{lora}.jsonl"


def decisions_of(project: Project, lora: str) -> tuple[Decision, ...]:
    """Return what people have decided about a LoRA's pictures."""
    return read_decisions(decisions_file(project.workspace, lora))


def edit_dataset(project: Project, lora: str, folder: Path | None) -> None:
    """Let a person go over a LoRA's pictures: a table in their editor, or a folder that they have edited.

    Args:
        project: of the LoRA.
        lora: its name.
        folder: an edited copy of the data set in kohya's form, read instead of opening a table.
    """
    examples = latest_examples(project.workspace, lora)
    if examples is None:
        message = f"no run has made a data set for {lora!r} yet: reel2lora run CONFIG --lora {lora}"
        raise InputFault(message)
    if folder is not None:
        keep(project, lora, {**known(project, lora), **edited_files(examples, folder)})
        return
    table = table_file(project.workspace, lora)
    if not table.is_file():
        write_table(table, examples, decisions_of(project, lora))
    try:
        click.edit(filename=str(table))
    except click.ClickException as error:
        console.print(f"{error.format_message()}: open {table.parent.name}/{table.name} yourself, then run again")
        return
    collect_decisions(project, lora)


def collect_decisions(project: Project, lora: str) -> None:
    """Take over what was changed by hand since: in the table, and in the data set's own files, which are put back.

    Raises:
        InputFault: a caption is empty or too long, or the table cannot be read; every fault is named.
    """
    try:
        examples = latest_examples(project.workspace, lora)
    except StaleRows:  # its texts are not what this version would write, so none can be told to be changed
        return
    if examples is None:
        return
    table, texts = table_file(project.workspace, lora), examples.folder / "kohya"
    before = known(project, lora)
    after = {**before, **edited_files(examples, texts)}
    touched = after != before
    if table.is_file():
        after = {key: each for key, each in (after | read_table(table, examples, after)).items() if each is not None}
    if after != before or table.is_file():
        keep(project, lora, after)
        table.unlink(missing_ok=True)
    if touched:
        write_kohya_folder(examples.folder / "files", examples.rows, project.loras[lora].dataset)


def keep(project: Project, lora: str, decisions: Mapping[Key, Decision | None]) -> None:
    """Check and write decisions.

    Raises:
        InputFault: a caption is too long for the base model, or that has no tokenizer.
    """
    words = load_tokenizer(tokenizer_folder(base_model(project)))
    most = project.loras[lora].caption.max_tokens
    counted = []
    faults = []
    for each in decisions.values():
        if each is None:
            continue
        tokens = count_tokens(words, each.caption) if each.verdict == "caption" else 0
        if tokens > most:
            faults.append(f"{lora}, frame {each.frame}: {each.caption!r} has {tokens} tokens, {most} fit: shorten it")
        counted.append(each.model_copy(update={"tokens": tokens}))
    if faults:
        raise InputFault("\n".join(faults))
    path = decisions_file(project.workspace, lora)
    write_decisions(path, counted)
    rejected = sum(each.verdict == "reject" for each in counted)
    console.print(f"{lora}: {len(counted) - rejected} captions by hand, {rejected} pictures turned down ({path.name})")


def known(project: Project, lora: str) -> dict[Key, Decision | None]:
    """Return the decisions so far by what they are about."""
    return {(each.film, each.frame, each.box): each for each in decisions_of(project, lora)}


def edited_files(examples: Dataset[Example], folder: Path) -> dict[Key, Decision | None]:
    """Return what was decided by editing a data set in kohya's form: texts changed, pictures deleted."""
    texts, pictures = ({path.name.split("-")[0]: path for path in folder.rglob(f"*.{end}")} for end in ("txt", "png"))
    found: dict[Key, Decision | None] = {}
    for example in examples:
        stem = Path(example.image).stem
        text = texts.get(stem)
        if stem not in pictures:
            found[key_of(example)] = decision(example, "reject")
        elif text is not None and (caption := text.read_text(encoding="utf-8").strip()) not in {"", example.caption}:
            found[key_of(example)] = decision(example, "caption", caption)
    return found if len(found) < len(examples) else {}


def write_table(table: Path, examples: Dataset[Example], decisions: tuple[Decision, ...]) -> None:
    """Write a data set as a table to edit; pictures turned down before are in it, to be taken back."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in examples:
            picture = f"../assemble_dataset/{examples.folder.name}/files/{row.image}"
            writer.writerow([picture, "keep", row.caption, row.time_s, row.film, row.frame, *row.box])
        for each in decisions:
            if each.verdict == "reject":
                writer.writerow(["", "reject", "", "", each.film, each.frame, *each.box])


def read_table(table: Path, examples: Dataset[Example], before: Mapping[Key, object]) -> dict[Key, Decision | None]:
    """Return what a table decides; None where it takes a decision back.

    Raises:
        InputFault: a row is torn or has an unknown verdict.
    """
    rows = {key_of(row): row for row in examples}
    found: dict[Key, Decision | None] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            key = key_in(row, f"{table.name}, line {line}")
            caption, example = (row["caption"] or "").strip(), rows.get(key)
            if row["verdict"] == "reject":
                found[key] = Decision(film=key[0], frame=key[1], box=key[2], verdict="reject")
            elif not caption or example is None:
                found |= {key: None} if key in before else {}
            elif caption != example.caption:
                found[key] = decision(example, "caption", caption)
    return found


def table_file(workspace: Path, lora: str) -> Path:
    """Return where the table lies while a person edits it."""
    return decisions_file(workspace, lora).with_suffix(".csv")


def key_of(example: Example) -> Key:
    """Return what a decision about an example is about."""
    return example.film, example.frame, example.box


def key_in(row: Mapping[str, str | None], where: str) -> Key:
    """Return what a row of the table is about.

    Raises:
        InputFault: the row is torn, or has an unknown verdict.
    """
    if row.get("verdict") not in VERDICTS:
        message = f"{where}: verdict is {row.get('verdict')!r}; use {' or '.join(VERDICTS)}"
        raise InputFault(message)
    try:
        x0, y0, x1, y1 = (float(row[name] or "") for name in ("x0", "y0", "x1", "y1"))
        return str(row["film"]), int(row["frame"] or ""), (x0, y0, x1, y1)
    except (KeyError, ValueError) as error:
        message = f"{where}: the row is torn ({error}): delete the table and run `reel2lora edit` again"
        raise InputFault(message) from error


def decision(example: Example, verdict: str, caption: str = "") -> Decision:
    """Return a decision about an example."""
    film, frame, box = key_of(example)
    return Decision.model_validate({"film": film, "frame": frame, "box": box, "verdict": verdict, "caption": caption})
