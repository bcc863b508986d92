"""The validations of one training so far, and the best one's weights: what a resumed run needs to choose the same."""

from collections.abc import Callable
from typing import Any

import torch

from data_contracts.training import TrainRequest
from data_contracts.validations import Validation
from models.child import emit
from models.trainers.checkpoint import StepLog
from models.trainers.choice import FEW_PICTURES, best_of, is_exhausted
from models.trainers.drawn import Drawings
from models.trainers.held_out import HeldOut
from models.trainers.step import Adapter

Weights = dict[str, torch.Tensor]


class Course:
    """Validates a training's steps where pictures are held out; elsewhere it stays empty."""

    def __init__(self, adapter: Adapter, request: TrainRequest, finished: int, best: Weights | None) -> None:
        """Take up the validations of the steps that are finished.

        best: the best weights, where they are others than the adapter's.

        Raises:
            InputFault: a held-out picture cannot be used.
            Stopped: SIGTERM came meanwhile.
        """
        self.adapter, self.settings = adapter, request.settings
        self.validations: list[Validation] = []
        self.best_weights = best
        self.measuring: tuple[HeldOut, StepLog] | None = None
        self.drawings: Drawings | None = None
        _note_few(request)
        if request.held_out and request.settings.validate_every:
            log = StepLog(request.output / "validation.jsonl", finished)
            self.measuring = HeldOut(adapter, request), log
            self.drawings = Drawings(adapter.model, request, request.drawing) if request.drawing else None
            for entry in log.entries():
                self._take(Validation.model_validate(entry))
        self._keep_best(finished)

    @property
    def best_step(self) -> int | None:
        """The step of the best validation; None where no step was validated."""
        best = best_of(self.validations, self.settings.choose)
        return best.step if best else None

    @property
    def is_exhausted(self) -> bool:
        """Whether the training has gone on without gain for as long as the settings allow."""
        return is_exhausted(self.validations, self.settings.patience, self.settings.choose)

    def tell(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Tell a listener of every validation that is there, and of those to come."""
        if self.measuring is not None:
            self.measuring[1].tell(listener)

    def validate(self, step: int) -> None:
        """Measure the adapter as it is after `step` steps, where that is due and not done; SIGTERM breaks it off.

        Raises:
            FloatingPointError: a loss is not a finite number.
            MissingWeights: what drawn pictures are measured by is not on this machine.
        """
        settings = self.settings
        done = any(each.step == step for each in self.validations)
        if self.measuring is None or done or (step % settings.validate_every and step != settings.steps):
            return
        held_out, log = self.measuring
        validation = held_out.measure(step)
        if validation is not None and self.drawings is not None:
            drawn = self.drawings.measure(step)
            validation = validation.model_copy(update={"drawn": drawn}) if drawn else None
        if validation is not None:
            log.write(validation.model_dump(mode="json"))
            self._take(validation)
            self._keep_best(step)

    def other_weights(self, step: int) -> Weights | None:
        """Return the best weights where they are of another step than `step`, whose the adapter's are."""
        return None if self.best_step in {None, step} else self.best_weights

    def _take(self, validation: Validation) -> None:
        self.validations.append(validation)
        drawn = validation.drawn
        found = {"likeness": drawn.mean_likeness, "text": drawn.mean_text, "copies": drawn.copies} if drawn else {}
        emit("validation", step=validation.step, held_out=validation.loss, learnt=validation.learnt_loss, **found)

    def _keep_best(self, step: int) -> None:
        if step and self.best_step == step:
            self.best_weights = {name: value.detach().cpu().clone() for name, value in self.adapter.tensors().items()}


def _note_few(request: TrainRequest) -> None:
    """Say where held-out pictures are too few for what is asked of them."""
    settings, count = request.settings, len(request.held_out)
    if not count and (settings.choose != "last" or settings.patience):
        emit("note", message="no pictures are held out: no step is known to be the best, the last is kept")
    elif settings.validate_every and 0 < count < FEW_PICTURES:
        emit("note", message=f"only {count} pictures are held out: below {FEW_PICTURES}, their loss says little")
    drawn = len(request.drawing.prompts) if request.drawing else 0
    if settings.choose == "likeness" and 0 < drawn < FEW_PICTURES:
        emit("note", message=f"only {drawn} pictures are drawn: below {FEW_PICTURES}, their likeness says little")
