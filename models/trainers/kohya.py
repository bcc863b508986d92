"""Train one LoRA of Stable Diffusion 1.x by kohya's sd-scripts: `python -m models.trainers.kohya REQUEST.json`.

Takes the requests that the native trainer takes, and leaves the same files. sd-scripts run as a child process in an
environment of their own (`reel2lora doctor --setup kohya`). A run that was ended goes on from the latest whole state
that they saved; unlike the native trainer's, a stop itself saves nothing.
"""

import json
import re
import shutil
import sys
from collections import deque
from pathlib import Path
from typing import Any

from data_contracts.training import TrainRequest
from models.child import Stopped, emit, run_child, stop_requested
from models.diffusion.lora_file import LoraWeights, load_kohya, save_kohya
from models.trainers import kohya_config as config
from models.trainers import kohya_output as output
from models.trainers import kohya_states as states
from models.trainers.board import Board
from models.trainers.checkpoint import LossLog, request_digest, require_same
from models.trainers.kohya_base import longest_text, prepare_base, prepare_tokenizer
from models.trainers.kohya_dataset import write_dataset
from models.trainers.kohya_home import COMMIT, NEEDS
from models.trainers.kohya_losses import LossReader
from models.trainers.kohya_process import Process
from models.trainers.lora_metadata import lora_metadata

_SAMPLE = re.compile(r".*_(\d{6})_(\d{2})_\d{14}_\d+\.png")
_DATES = {"ss_session_id", "ss_training_started_at", "ss_training_finished_at", "modelspec.date"}
_LAUNCHER = Path(__file__).with_name("kohya_launch.py")
_LAST_LINES = 60


class Run:
    """One request's training, from its latest state on."""

    def __init__(self, request: TrainRequest) -> None:
        self.request = request
        self.places = config.Places(request.output / "kohya")
        self.checkout, self.python = (need.path() for need in NEEDS)
        config.require_possible(request.base, request.settings)
        self.places.output.mkdir(parents=True, exist_ok=True)
        self.digest = self._claim()
        found = states.latest_state(self.places.output, request.settings.steps)
        self.state = found
        self.finished = found.step if found else 0
        self._told = self._saved = self.finished
        self.board: Board | None = None
        if request.settings.tensorboard:
            self.board = Board(request, request.settings.steps if self.is_done else self.finished)

    @property
    def is_done(self) -> bool:
        """Whether sd-scripts have trained this to the end already."""
        note = self.places.root / "done.json"
        return self.lora.is_file() and note.is_file() and json.loads(note.read_text(encoding="utf-8")) == self.digest

    @property
    def lora(self) -> Path:
        """What sd-scripts write at their end."""
        return self.places.output / f"{config.OUTPUT_NAME}.safetensors"

    def prepare(self, log: LossLog) -> Path:
        """Keep what an earlier start left, and write all that sd-scripts read; return their configuration."""
        request, places = self.request, self.places
        self._collect_samples(self.finished)
        self._recover_losses(log)
        for folder in (places.dataset, places.logs, places.output / "sample"):
            shutil.rmtree(folder, ignore_errors=True)
        self.lora.unlink(missing_ok=True)
        places.dataset.mkdir()
        base = prepare_base(request.base, places.root / "base")
        prepare_tokenizer(request.base, places.tokenizers)
        longest = longest_text(request.base / "tokenizer", [example.caption for example in request.examples])
        write_dataset(request, places.dataset)
        config.write_prompts(request, places)
        options = config.configuration(request, base, places) | config.token_length(longest)
        if self.state:
            options |= config.resumption(request.settings, self.state.path, self.state.step)
        path = places.root / "config.toml"
        path.write_text(config.toml_text(options), encoding="utf-8")
        return path

    def train(self, options: Path, log: LossLog) -> None:
        """Let sd-scripts train to the end.

        Raises:
            InputFault: an option, the base model or the data set is not what they take.
            StageFault: they failed, or ended without a LoRA.
            FloatingPointError: the loss is no longer a finite number.
            Stopped: SIGTERM came.
        """
        command = [str(self.python), str(_LAUNCHER), str(self.checkout), str(options)]
        losses = LossReader(self.places.logs, self.request.settings.accumulate)
        last: deque[str] = deque(maxlen=_LAST_LINES)
        child = Process(command, self.places.dataset, self.places.root / "log.txt", self.request.threads)
        try:
            for line in child.lines():
                last.append(line)
                output.require_sound(line)
                self._follow(line, losses, log)
        finally:
            code = child.stop()
        if stop_requested() or code in {-15, 143}:
            kept = states.latest_state(self.places.output, self.request.settings.steps + 1)
            message = (
                f"stopped, step {kept.step if kept else 0} of {self.request.settings.steps} is saved: "
                "the same command goes on from there"
            )
            raise Stopped(message)
        self._log_losses(losses, log)
        if code != 0 or not self.lora.is_file():
            raise output.failure_of(code, last)
        self._collect_samples(self.request.settings.steps)
        self._keep_states()
        shutil.rmtree(self.places.output / f"{config.OUTPUT_NAME}-state", ignore_errors=True)  # as large as the others
        (self.places.root / "done.json").write_text(json.dumps(self.digest), encoding="utf-8")

    def _follow(self, line: str, losses: LossReader, log: LossLog) -> None:
        """Tell what a line of sd-scripts says, and what they wrote meanwhile."""
        progress = output.progress_of(line)
        if progress is None or progress.loss is None or self.finished + progress.step == self._told:
            return
        self._told = step = self.finished + progress.step
        emit("progress", step=step, steps=self.request.settings.steps, loss=progress.loss)
        self._log_losses(losses, log)
        self._collect_samples(step - 1)  # those of this step may be half written, as its state
        if step - 1 >= self._saved + config.checkpoint_steps(self.request.settings):
            self._keep_states()

    def _keep_states(self) -> None:
        saved = states.drop_old(self.places.output)
        if saved and saved.step > self._saved:
            self._saved = saved.step
            emit("checkpoint", step=saved.step, path=str(saved.path))

    def _log_losses(self, losses: LossReader, log: LossLog) -> None:
        for step, loss, rate in losses.new_steps():
            log.append(step, loss, rate)

    def _recover_losses(self, log: LossLog) -> None:
        """Log what an earlier start was killed before logging.

        sd-scripts tell a step's loss after saving its state: one that is killed between the two is never told.
        """
        last = max((entry["step"] for entry in log.entries()), default=0)
        for step, loss, rate in LossReader(self.places.logs, self.request.settings.accumulate).new_steps():
            if last < step <= self.finished:
                log.append(step, loss, rate)

    def _collect_samples(self, last_step: int) -> None:
        """Move the sample pictures of steps up to `last_step` to where the native trainer has them."""
        folder = self.request.output / "samples"
        for path in sorted((self.places.output / "sample").glob("*.png")):
            named = _SAMPLE.fullmatch(path.name)
            if named and int(named[1]) <= last_step:
                folder.mkdir(exist_ok=True)
                kept = path.replace(folder / f"step-{named[1]}-{int(named[2])}.png")
                emit("sample", step=int(named[1]), image=str(kept))
                if self.board is not None:
                    self.board.sample(kept)

    def _claim(self) -> str:
        """Note what is trained here; return its digest.

        Raises:
            InputFault: it is something else than before.
        """
        digest = request_digest(self.request)
        note = self.places.root / "request.json"
        if note.is_file():
            kept = json.loads(note.read_text(encoding="utf-8"))
            require_same(kept, digest, self.places.root, remove="it")
        note.write_text(json.dumps(digest), encoding="utf-8")
        return digest


def train(request_file: Path) -> None:
    """Do what the request says, from the latest state on.

    Raises:
        MissingWeights: sd-scripts or their environment are not here.
        InputFault: a setting, the base model or an example is nothing for sd-scripts.
        StageFault: sd-scripts failed.
        FloatingPointError: the loss is no longer a finite number.
        Stopped: SIGTERM came.
    """
    request = TrainRequest.model_validate_json(request_file.read_text(encoding="utf-8"))
    run = Run(request)
    log = LossLog(request.output / "loss.jsonl", request.settings.steps if run.is_done else run.finished)
    if run.board is not None:
        log.tell(run.board.step)
    try:
        if not run.is_done:
            for difference in config.differences(request.settings):
                emit("difference", message=difference)
            run.train(run.prepare(log), log)
    finally:
        if run.board is not None:
            run.board.close()
    lora = _write_lora(request, run.lora)
    emit("done", lora=str(lora), steps=request.settings.steps, final_loss=log.final_loss())


def _write_lora(request: TrainRequest, trained: Path) -> Path:
    """Write sd-scripts' LoRA as ours: the same tensors, no dates, and what we know of it besides."""
    weights = load_kohya(trained)
    theirs = {key: value for key, value in weights.metadata.items() if key not in _DATES}
    metadata: dict[str, Any] = {
        **theirs,
        **lora_metadata(request, config.prediction_type(request.base)),
        "modelspec.implementation": theirs.get("modelspec.implementation", "sd-scripts"),
        "reel2lora.trainer": f"kohya-ss/sd-scripts@{COMMIT}",
        "reel2lora.differences": json.dumps(config.differences(request.settings)),
    }
    path = request.output / "lora.safetensors"
    save_kohya(path, LoraWeights(weights.unet, weights.text_encoder, metadata))
    return path


if __name__ == "__main__":
    sys.exit(run_child(train))
