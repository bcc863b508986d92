"""Train one LoRA of any family of base models: `python -m models.trainers.native REQUEST.json`.

Resumes by itself from the checkpoints in its output folder. On the CPU a run that was killed and resumed ends in the
same bytes as one that was not. Latents are encoded once, and so are captions where the text encoder is not trained.
"""

import sys
from pathlib import Path

import torch

from data_contracts.training import TrainRequest
from models.child import Stopped, emit, run_child, stop_requested, use_threads
from models.diffusion import load_base
from models.diffusion.families import DENOISER, Drawing
from models.diffusion.lora_file import LoraWeights, from_peft, save_kohya
from models.pictures import encode_png
from models.seeds import derived_seed
from models.trainers.checkpoint import LossLog, State, load_checkpoint, request_digest, save_checkpoint
from models.trainers.examples import prepare
from models.trainers.lora_metadata import lora_metadata
from models.trainers.step import Adapter, Trainer


def train(request_file: Path) -> None:
    """Do what the request says, from the last checkpoint on.

    Raises:
        InputFault: the base model, an example or the checkpoints do not fit the request.
        FloatingPointError: the loss is no longer a finite number.
        Stopped: SIGTERM came; a checkpoint is saved.
    """
    request = TrainRequest.model_validate_json(request_file.read_text(encoding="utf-8"))
    use_threads(request.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    request.output.mkdir(parents=True, exist_ok=True)
    digest = request_digest(request)
    saved = load_checkpoint(request.output / "checkpoints", digest)
    model = load_base(request.base, request.settings.precision)
    prepared = prepare(model, request.examples, request.settings)
    trainer = Trainer(Adapter(model, request.settings), prepared, request.settings)
    finished = 0
    if saved is not None:
        finished = saved.step
        trainer.adapter.load(saved.weights)
        trainer.optimizer.load_state_dict(saved.optimizer)
    log = LossLog(request.output / "loss.jsonl", finished)
    _run(request, trainer, log, digest, finished)
    lora = _write_lora(request, trainer)
    emit("done", lora=str(lora), steps=request.settings.steps, final_loss=log.final_loss())


def _run(request: TrainRequest, trainer: Trainer, log: LossLog, digest: str, finished: int) -> None:
    settings = request.settings
    kept = finished
    if finished:
        _sample(request, trainer, finished)  # the run may have been stopped between this step and its pictures
    for step in range(finished + 1, settings.steps + 1):
        loss = trainer.step(step - 1)
        log.append(step, loss, trainer.learning_rate)
        emit("progress", step=step, steps=settings.steps, loss=loss)
        _sample(request, trainer, step)
        stopping = stop_requested()
        if stopping or step % settings.checkpoint_every == 0 or step == settings.steps:
            state = State(step, trainer.adapter.tensors(), trainer.optimizer.state_dict())
            path = save_checkpoint(request.output / "checkpoints", state, digest)
            emit("checkpoint", step=step, path=str(path))
            kept = step
        if stopping:
            message = f"stopped, step {kept} of {settings.steps} is saved: the same command goes on from there"
            raise Stopped(message)


def _sample(request: TrainRequest, trainer: Trainer, step: int) -> None:
    """Draw the sample prompts, where they are due and not drawn yet, each from the same noise every time."""
    settings = request.settings
    if not settings.sample_every or step % settings.sample_every:
        return
    folder = request.output / "samples"
    folder.mkdir(exist_ok=True)
    for number, prompt in enumerate(settings.sample_prompts):
        path = folder / f"step-{step:06}-{number}.png"
        if path.exists():
            continue
        if stop_requested():
            return
        words = prompt.replace("{trigger}", request.trigger)
        edited = trainer.prepared.views[number % len(trainer.prepared.views)].control
        controls = () if edited is None else (edited,)
        drawing = Drawing(settings.sample_steps, settings.sample_guidance, settings.resolution, controls)
        seed = derived_seed(settings.seed, "sample", number)
        picture = trainer.adapter.model.sample([words], "", [seed], drawing)[0]
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(encode_png(picture))
        beside.replace(path)
        emit("sample", step=step, image=str(path))


def _write_lora(request: TrainRequest, trainer: Trainer) -> Path:
    adapter = trainer.adapter
    modules = {key: from_peft(state, adapter.size) for key, state in adapter.peft_states().items()}
    metadata = lora_metadata(request, trainer.objective.prediction_type, adapter.model.keys)
    path = request.output / "lora.safetensors"
    text_encoders = modules.get("text_encoder", {}), modules.get("text_encoder_2", {})
    weights = LoraWeights(modules[DENOISER], text_encoders[0], metadata, text_encoders[1])
    save_kohya(path, weights, adapter.model.keys)
    return path


if __name__ == "__main__":
    sys.exit(run_child(train))
