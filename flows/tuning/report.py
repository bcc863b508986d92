"""What came of a search of settings: a table, a picture, and the best values as YAML for the project file."""

import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from data_contracts.training import TrainSettings
from data_contracts.whole_file import whole_file
from flows.tuning.space import changes_to
from flows.tuning.study import ENDED_BY, PRESET, RESULT, STEP, Search, preset_of, trained, validation_of
from models.sheets.search import Course, search_sheet
from models.trainers.choice import is_better

COLUMNS = ("trial", "loss", "step", "rate", "text", "rank", "alpha", "drop", "noise", "warm")
console = Console()


def report_search(asked: Search, study: Study) -> Path:
    """Print the trials and what they come to, write picture and YAML, and return the picture's path."""
    done, preset, best = trained(study), preset_of(study), study.best_trial
    console.print(table_of(asked, done, best))
    picture = asked.workspace / "reports" / f"tune-{asked.config.name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    courses = [Course(each.number, dict(each.intermediate_values), score_of(each)) for each in done]
    search_sheet(courses, preset.number, best.number).save(picture)
    before, after = validation_of(preset), validation_of(best)
    if best.number == preset.number:
        console.print(f"No trial of {len(done)} was better than the preset, {before.loss:.4f}: leave it as it is.")
        return picture
    beyond = "more" if is_better(after, before) else "no more"
    found = f"held-out loss {after.loss:.4f}, the preset's {before.loss:.4f}"
    console.print(
        f"Trial {best.number}: {found}, at the same noise: {before.loss - after.loss:.4f} less, {beyond} than one "
        f"standard error over {len(after.held_out)} pictures."
    )
    settings = asked.space.settings(best.params)
    written = write_values(asked, settings, found)
    take_over(asked, best)
    print(f"Its values are in {os.path.relpath(written)}: name that file under `overlays:` of the project, or give")
    console.print(" ".join(f"--set {key}={value}" for key, value in flat(values_of(asked, settings))), soft_wrap=True)
    return picture


def table_of(asked: Search, done: list[FrozenTrial], best: FrozenTrial) -> Table:
    """Return the trials as a table; of one that was ended early the loss that it had by then, in brackets."""
    title = f"{asked.config.name}: {len(done)} trials, in brackets those ended early"
    table = Table(*COLUMNS, title=title, box=None, padding=(0, 2, 0, 0))
    for trial in done:
        is_preset, losses = PRESET in trial.user_attrs, trial.intermediate_values
        settings = asked.space.preset if is_preset else asked.space.settings(trial.params)
        if trial.state == TrialState.COMPLETE:
            loss, step = f"{trial.value:.4f}", trial.user_attrs[STEP]
        else:
            step = max(losses, default=0)
            loss = f"({losses[step]:.4f})" if losses else trial.user_attrs[ENDED_BY]
        table.add_row(
            "preset" if is_preset else str(trial.number),
            loss,
            str(step),
            f"{settings.learning_rate:.2g}",
            f"{settings.text_encoder_learning_rate:.2g}",
            str(settings.rank),
            f"{settings.alpha:.3g}",
            f"{settings.caption_dropout:.2g}",
            f"{settings.noise_offset:.2g}",
            str(settings.warmup_steps),
            style="bold" if trial.number == best.number else "",
        )
    return table


def score_of(trial: FrozenTrial) -> float | None:
    """Return the held-out loss of a trial that was trained to its end; Optuna gives the others their last one."""
    return trial.value if trial.state == TrialState.COMPLETE else None


def values_of(asked: Search, settings: TrainSettings) -> dict[str, Any]:
    """Return what a project file has to say for settings to be these, as the tree that it is."""
    changes = changes_to(asked.config.settings, settings)
    plan: dict[str, Any] = {"by_size": False} if asked.config.by_size else {}
    return {"loras": {asked.config.name: {**plan, "train": changes}}}


def write_values(asked: Search, settings: TrainSettings, why: str) -> Path:
    """Write settings as YAML beside the search, for the project file to take in; return its path."""
    path = asked.folder.with_suffix(".yaml")
    data = asked.examples.content_digest[:12]
    head = f"# By `reel2lora tune`, for the data set {data} and its preset: {why}.\n"
    with whole_file(path) as beside:
        beside.write_text(head + yaml.safe_dump(values_of(asked, settings), sort_keys=False), encoding="utf-8")
    return path


def flat(tree: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return a tree's values by dotted key."""
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", value)]
    return found


def take_over(asked: Search, best: FrozenTrial) -> None:
    """Move the best trial's LoRA to where a run with its values looks for it, so that it is not trained again."""
    name = best.user_attrs[RESULT]
    trained_there = asked.folder / "train_lora" / name
    wanted = asked.workspace / "train_lora" / name
    if trained_there.is_dir() and not wanted.exists():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(trained_there, wanted)
