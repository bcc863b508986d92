"""A search for better training settings: trials that are trained, pruned early, and kept whatever happens.

Optuna's study lies in SQLite: its transactions are kept by locks of the kernel, so that a killed search leaves neither
half a trial nor a lock behind, as the lock files of Optuna's journal storage would. What the sampler proposes follows
from the trials that have ended and their number alone. So a search that was killed proposes the same values again for
the trial that it was training, and that goes on from its training's checkpoint.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from data_contracts.dataset import Dataset
from data_contracts.digest import digest_of
from data_contracts.faults import InputFault
from data_contracts.lora_stages import TrainLoraConfig
from data_contracts.records import Example
from data_contracts.results import LoraFile
from data_contracts.training import TrainSettings
from data_contracts.validations import Validation, read_validations
from flows.tuning.space import Space
from models.seeds import derived_seed
from tasks.guard import one_writer
from tasks.job import Event
from tasks.progress import logger
from tasks.run_record import labelled
from tasks.train_lora import settings_for, train_lora, watched

SEED = 0
STARTUP = 5
"""Trials at random values before the sampler trusts what it has seen, and before any trial is pruned."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
PRESET, REJECTED, ENDED_BY, RESULT, STEP, LOSSES = "preset", "rejected", "ended_by", "result", "step", "held_out"
"""What a trial carries besides its values and its score."""


class Pruned(Exception):
    """A trial is not worth training to its end."""


@dataclass(frozen=True)
class Search:
    """What is searched for: better settings for one LoRA.

    workspace: the project's; folder: where the search keeps its study and its trials' results.
    """

    workspace: Path
    folder: Path
    examples: Dataset[Example]
    base: Path
    config: TrainLoraConfig

    @property
    def space(self) -> Space:
        """The settings around the project's own."""
        learnt = self.examples.where("split", "train").where("role", "subject")
        return Space(settings_for(self.examples, self.config), len(learnt))

    def config_of(self, settings: TrainSettings) -> TrainLoraConfig:
        """Return the project's configuration with other settings."""
        return TrainLoraConfig.model_validate(
            {**self.config.model_dump(), "settings": settings.model_dump(), "by_size": False}
        )

    def require_measurable(self) -> None:
        """Refuse a search that could not compare its trials.

        Raises:
            InputFault: nothing is held out, or nothing is validated, or no LoRA is trained.
        """
        name = self.config.name
        if self.config.trainer != "native":
            message = (
                f"loras.{name}.train.trainer: {self.config.trainer!r} measures no held-out loss: tune with 'native'"
            )
            raise InputFault(message)
        if not self.config.settings.rank:
            message = f"loras.{name}.train.rank: 0 trains no LoRA, whose rank and rates are searched for: raise it"
            raise InputFault(message)
        if not self.config.settings.validate_every:
            message = f"loras.{name}.train.validate_every: 0 measures no held-out loss: set it to a fifth of the steps"
            raise InputFault(message)
        if not len(self.examples.where("split", "held_out")):
            message = (
                f"{name}: its data set holds no picture back, so settings cannot be compared: raise "
                f"loras.{name}.dataset.held_out_share, or give more shots"
            )
            raise InputFault(message)


def search(asked: Search, trials: int, patience: int) -> Study:
    """Train trials until there are `trials`, or `patience` have passed without gain; go on where an earlier one ended.

    Raises:
        InputFault: nothing is held out or validated.
        StageFault: a training failed for another reason than its values; the search goes on from there.
    """
    asked.require_measurable()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with one_writer("tune", asked.folder):
        study = open_study(asked)
        while len(done := trained(study)) < trials and since_best(done) < (patience or trials):
            logger.info("trial %d of at most %d", len(done) + 1, trials)
            _run_next(study, asked)
    return study


def open_study(asked: Search) -> Study:
    """Return the study of this data set, base model and preset; its first trial is the preset.

    Trials are only compared within a study: with another data set, base model or preset a new one begins.
    """
    asked.folder.mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{(asked.folder / 'study.db').as_posix()}")
    digest = digest_of([asked.examples, asked.base, asked.config])
    steps = asked.space.preset.steps
    pruner = MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=steps // 4)
    study = optuna.create_study(storage=storage, pruner=pruner, study_name=digest, load_if_exists=True)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # its process has ended, and it will be proposed again
    known = study.get_trials(states=(TrialState.WAITING, TrialState.COMPLETE))
    if not any(PRESET in trial.user_attrs for trial in known):
        study.enqueue_trial(asked.space.values, user_attrs={PRESET: True})
    return study


def trained(study: Study) -> list[FrozenTrial]:
    """Return the trials that were trained, whether to the end or not, in order."""
    return [each for each in study.get_trials(states=ENDED) if REJECTED not in each.user_attrs]


def since_best(done: Iterable[FrozenTrial]) -> int:
    """Return how many trials have passed since the best one."""
    best, passed = float("inf"), 0
    for trial in done:
        gained = trial.state == TrialState.COMPLETE and trial.value is not None and trial.value < best
        best, passed = (trial.value or 0.0, 0) if gained else (best, passed + 1)
    return passed


def preset_of(study: Study) -> FrozenTrial:
    """Return the trial of the preset."""
    return next(trial for trial in study.get_trials(states=(TrialState.COMPLETE,)) if PRESET in trial.user_attrs)


def validation_of(trial: FrozenTrial) -> Validation:
    """Return the validation that a trial's score is the mean of."""
    return Validation(step=trial.user_attrs[STEP], held_out=tuple(trial.user_attrs[LOSSES]))


def _run_next(study: Study, asked: Search) -> None:
    space = asked.space
    seed = derived_seed(SEED, "trial", len(study.get_trials(states=ENDED))) % 2**32
    study.sampler = TPESampler(n_startup_trials=STARTUP, seed=seed)
    trial = study.ask(space.distributions)
    is_preset = PRESET in trial.user_attrs
    settings = space.preset if is_preset else space.settings(trial.params)
    if not is_preset and (why := space.objection(settings)):
        trial.set_user_attr(REJECTED, why)
        study.tell(trial, state=TrialState.PRUNED)
        return
    # The preset's LoRA is the project's own: what a run has trained is reused, and what is trained here, by a run.
    place, config = (asked.workspace, asked.config) if is_preset else (asked.folder, asked.config_of(settings))
    watch = Watch(trial, may_prune=not is_preset)
    try:
        with watched(watch), labelled(f"{asked.config.name}-trial-{trial.number}"):
            lora = train_lora(place, asked.examples, asked.base, config)
    except Pruned as why_pruned:
        trial.set_user_attr(ENDED_BY, str(why_pruned))
        study.tell(trial, state=TrialState.PRUNED)
    else:
        _note_result(trial, watch, lora)
        study.tell(trial, lora.rows[0].held_out_loss)
    _drop_others(study, asked.folder)


@dataclass
class Watch:
    """Reports the validations of a trial's training to the study, and ends it where it falls behind the others.

    Raises:
        Pruned: the training is behind the median of the others at this step, or diverged.
    """

    trial: Trial
    may_prune: bool
    reported: set[int] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Take an event of the trainer."""
        if event.get("event") == "diverged" and self.may_prune:
            message = f"diverged after step {event['step']}"
            raise Pruned(message)
        if event.get("event") == "validation":
            self.report(event["step"], event["held_out"])
            if self.may_prune and self.trial.should_prune():
                message = f"behind the median at step {event['step']}"
                raise Pruned(message)

    def report(self, step: int, loss: float) -> None:
        """Report a step's loss, once; step 0 is the base model's, the same in all trials."""
        if step and step not in self.reported:
            self.reported.add(step)
            self.trial.report(loss, step)


def _note_result(trial: Trial, watch: Watch, lora: Dataset[LoraFile]) -> None:
    """Note what the score comes from, and the steps that were validated before this process began."""
    row = lora.rows[0]
    course = read_validations(lora.path(row.validation_log or ""))
    for each in course:
        watch.report(each.step, each.loss)
    chosen = next(each for each in course if each.step == row.chosen_step)
    noted: dict[str, Any] = {RESULT: lora.folder.name, STEP: chosen.step, LOSSES: list(chosen.held_out)}
    for name, value in noted.items():
        trial.set_user_attr(name, value)


def _drop_others(study: Study, folder: Path) -> None:
    """Delete the results of all trials but the best: each is as large as a training."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    best = min(complete, key=lambda trial: trial.value or 0.0).user_attrs[RESULT] if complete else ""
    for result in (folder / "train_lora").glob("*"):
        if result.name != best:
            shutil.rmtree(result)
