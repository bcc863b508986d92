"""Train one LoRA of any family of base models: `python -m models.trainers.native REQUEST.json`.

Resumes by itself from the checkpoints in its output folder. On the CPU a run that was killed and resumed ends in the
same bytes as one that was not. Latents are encoded once, and so are captions where the text encoder is not trained.
Held-out pictures are validated on the way, which changes nothing in what is learnt.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from data_contracts.adapter_settings import embedding_beside
from data_contracts.training import TrainRequest, trigger_parts
from models.child import Stopped, emit, prepare_torch, run_child, stop_requested
from models.diffusion import load_base
from models.diffusion.families import DENOISER
from models.diffusion.lora_file import LoraWeights, from_peft, save_kohya
from models.diffusion.textual_inversion import save_embedding
from models.seeds import derived_seed
from models.trainers.average import Average
from models.trainers.board import Board
from models.trainers.checkpoint import LossLog, State, load_checkpoint, request_digest, save_checkpoint
from models.trainers.course import Course
from models.trainers.examples import prepare
from models.trainers.lora_metadata import embedding_metadata, lora_metadata
from models.trainers.pictures import draw, write_png
from models.trainers.step import Adapter, Trainer
from models.trainers.team import Team, leading


def train(request_file: Path) -> None:
    """Do what the request says, from the last checkpoint on.

    Raises:
        InputFault: the base model, an example or the checkpoints do not fit the request.
        FloatingPointError: the loss is no longer a finite number.
        Stopped: SIGTERM came; a checkpoint is saved.
    """
    request = TrainRequest.model_validate_json(request_file.read_text(encoding="utf-8"))
    processes = request.settings.processes
    prepare_torch(request.threads, deterministic=True, processes=processes)
    request.output.mkdir(parents=True, exist_ok=True)
    with leading(request_file, processes) as team:
        run = Run(request, team)
        try:
            run.train()
        except FloatingPointError:
            emit("diverged", step=run.finished)
            raise
        finally:
            run.close()
    lora, step = run.write_loras()
    emit("done", lora=str(lora), step=step, steps=run.finished, final_loss=run.log.final_loss())


class Learner:
    """What learns, as its last checkpoint left it; each process of a team has one."""

    def __init__(self, request: TrainRequest, team: Team) -> None:
        self.digest = request_digest(request)
        self.saved = load_checkpoint(request.output / "checkpoints", self.digest)
        self.model = load_base(request.base, request.settings.precision, clip_skip=request.settings.clip_skip)
        kept = trigger_parts(request.trigger)
        prepared = prepare(self.model, request.examples, request.settings, keep_tokens=kept)
        self.adapter = Adapter(self.model, request.settings, request.trigger)
        if self.adapter.words is not None:
            self.adapter.words.require_called([example.caption for example in request.examples])
        self.trainer = Trainer(self.adapter, prepared, request.settings, team)
        if self.saved is not None:
            self.adapter.load(self.saved.weights)
            self.trainer.optimizer.load_state_dict(self.saved.optimizer)

    def set_aside_readers(self) -> None:
        """Take the text encoders off the device where all that is read has been."""
        if not self.adapter.trains_reading:
            self.model.set_aside_text_encoders()


class Run:
    """One request's training, from its last checkpoint on."""

    def __init__(self, request: TrainRequest, team: Team) -> None:
        self.request, self.settings, self.team = request, request.settings, team
        learner = Learner(request, team)
        self.digest, saved = learner.digest, learner.saved
        self.adapter, self.trainer = learner.adapter, learner.trainer
        self.average = Average(self.adapter, self.settings.ema) if self.settings.ema else None
        if self.average is not None and saved is not None and saved.average is not None:
            self.average.load(saved.average)
        self.finished = saved.step if saved else 0
        self.log = LossLog(request.output / "loss.jsonl", self.finished)
        with self.kept_weights():
            self.course = Course(self.adapter, request, self.finished, saved.best if saved else None)
        self.board = Board(request, self.finished) if request.settings.tensorboard else None
        if self.board is not None:
            self.log.tell(self.board.step)
            self.course.tell(self.board.validation)
        learner.set_aside_readers()

    def kept_weights(self) -> AbstractContextManager[None]:
        """Return what has the adapter work with the weights that are kept: their average, where one is asked for."""
        return nullcontext() if self.average is None else self.average.in_place()

    def close(self) -> None:
        """Write what TensorBoard is to read, where that is asked for."""
        if self.board is not None:
            self.board.close()

    @property
    def is_over(self) -> bool:
        """Whether no step is left to do."""
        return self.finished >= self.settings.steps or self.course.is_exhausted

    def train(self) -> None:
        """Do the steps that are left, and what was due after the last one when the run was ended.

        Raises:
            FloatingPointError: the loss is no longer a finite number.
            Stopped: SIGTERM came; a checkpoint is saved.
        """
        settings = self.settings
        self._show()
        stopping = stop_requested()
        while self.team.goes_on(going=not (stopping or self.is_over)):
            loss = self.trainer.step(self.finished)
            self.finished += 1
            if self.average is not None:
                self.average.follow(self.finished)
            self.log.append(self.finished, loss, self.trainer.learning_rate)
            emit("progress", step=self.finished, steps=settings.steps, loss=loss)
            self._show()
            stopping = stop_requested()
            if stopping or self.finished % settings.checkpoint_every == 0 or self.is_over:
                self._save()
        if stopping:
            message = f"stopped, step {self.finished} of {settings.steps} is saved: the same command goes on from there"
            raise Stopped(message)

    def write_loras(self) -> tuple[Path, int]:
        """Write the LoRA that was asked for, and beside it the best where that is another; return the former's step."""
        path, last, best = self.request.output / "lora.safetensors", self.finished, self.course.best_step
        best_weights = self.course.other_weights(last)
        if best is None or best_weights is None or self.settings.choose == "last":
            with self.kept_weights():
                self._write(path, last)
        if best is None or best_weights is None:
            return path, last
        self.adapter.load(best_weights)
        chosen = self.settings.choose != "last"
        self._write(path if chosen else path.with_name("best.safetensors"), best)
        return path, best if chosen else last

    def _save(self) -> None:
        best = self.course.other_weights(self.finished)
        average = self.average.values if self.average else None
        state = State(self.finished, self.adapter.tensors(), self.trainer.optimizer.state_dict(), best, average)
        path = save_checkpoint(self.request.output / "checkpoints", state, self.digest)
        emit("checkpoint", step=self.finished, path=str(path))

    def _show(self) -> None:
        """Validate and draw, where that is due, with the weights that are kept."""
        settings, step = self.settings, self.finished
        every = (settings.validate_every, settings.sample_every)
        if step == settings.steps or any(each and step % each == 0 for each in every):
            with self.kept_weights():
                self.course.validate(step)
                self._sample()

    def _sample(self) -> None:
        """Draw the sample prompts, where they are due and not drawn yet, each from the same noise every time."""
        settings, step = self.settings, self.finished
        if not settings.sample_every or not step or step % settings.sample_every:
            return
        folder = self.request.output / "samples"
        for number, prompt in enumerate(settings.sample_prompts):
            path = folder / f"step-{step:06}-{number}.png"
            if not path.exists():
                if stop_requested():
                    return
                words = prompt.replace("{trigger}", self.request.trigger)
                views = self.trainer.prepared.views
                edited = views[number % len(views)].control
                seed = derived_seed(settings.seed, "sample", number)
                write_png(path, draw(self.adapter.model, [words], [seed], settings, [edited])[0])
                emit("sample", step=step, image=str(path))
            if self.board is not None:
                self.board.sample(path)

    def _write(self, path: Path, step: int) -> None:
        """Write the adapter, whose weights are those of `step`, as a LoRA file, and what its trigger is read as."""
        adapter, keys = self.adapter, self.adapter.model.keys
        modules = {key: from_peft(state, adapter.size) for key, state in adapter.peft_states().items()}
        about = self.request, self.trainer.objective.prediction_type, keys
        steps = {"ss_steps": str(step)}
        if modules:
            text_encoders = modules.get("text_encoder", {}), modules.get("text_encoder_2", {})
            metadata = lora_metadata(*about) | steps
            save_kohya(path, LoraWeights(modules[DENOISER], text_encoders[0], metadata, text_encoders[1]), keys)
        if adapter.words is not None:
            save_embedding(embedding_beside(path), adapter.words.vectors, embedding_metadata(*about) | steps, keys)


if __name__ == "__main__":
    sys.exit(run_child(train))
