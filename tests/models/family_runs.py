"""Short trainings of tiny base models, the same for every family."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.diffusion.families import DiffusionModel, networks_of
from models.diffusion.lora_file import AdapterSize, LoraWeights, from_peft, save_kohya
from models.diffusion.lora_stack import adapter_parameters, adapter_state, add_fresh_adapter
from models.diffusion.unet_layers import TEXT_ENCODER_LAYERS
from models.pictures import encode_png
from models.trainers.native import train

SETTINGS = {
    "rank": 2,
    "alpha": 2.0,
    "learning_rate": 1e-2,
    "text_encoder_learning_rate": 0.0,
    "steps": 4,
    "batch": 2,
    "resolution": 64,
    "warmup_steps": 1,
    "caption_dropout": 0.3,
    "masked_loss": True,
    "checkpoint_every": 2,
    "sample_every": 4,
    "sample_prompts": ["{trigger} in a harbour"],
    "sample_steps": 2,
}


def tiny_examples(folder: Path, pictures: int = 2) -> list[TrainExample]:
    """Write pictures of a coloured block on noise, and its masks."""
    made = []
    for number in range(pictures):
        picture = np.random.default_rng(number).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        mask = np.zeros((80, 100), np.uint8)
        mask[20:60, 30:60] = 255
        picture[mask > 0] = (200, 40 * number, 60)
        paths = folder / f"{number}.png", folder / f"{number}-mask.png"
        for path, array in zip(paths, (picture, mask), strict=True):
            path.write_bytes(encode_png(array))
        made.append(TrainExample(image=paths[0], mask=paths[1], caption="luca, running" if number else "luca"))
    return made


def train_in(folder: Path, base: Path, examples: list[TrainExample], **changes: object) -> Path:
    """Train in this process as the child process does, from the last checkpoint on, and return the LoRA."""
    train(request_in(folder, base, examples, **changes))
    return folder / "lora.safetensors"


def request_in(folder: Path, base: Path, examples: list[TrainExample], **changes: object) -> Path:
    """Write what a training into `folder` is asked for."""
    request = TrainRequest(
        name="luca",
        trigger="luca",
        base=base,
        examples=tuple(examples),
        output=folder,
        settings=TrainSettings.model_validate({**SETTINGS, **changes}),
        threads=1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "request.json"
    path.write_text(request.model_dump_json())
    return path


def as_killed_after_the_first_checkpoint(run: Path, copy: Path) -> Path:
    """Return a copy of a run's folder as SIGKILL would have left it between its two checkpoints."""
    shutil.copytree(run, copy)
    shutil.rmtree(max(copy.glob("checkpoints/step-*")))
    shutil.rmtree(copy / "samples")
    for result in copy.glob("*.safetensors"):
        result.unlink()
    return copy


def left_by(run: Path) -> dict[str, bytes]:
    """Return what a run leaves, by name."""
    kept = [*run.glob("*.safetensors"), run / "loss.jsonl", *run.glob("samples/*"), *run.glob("checkpoints/*/weights*")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in kept}


def add_random_adapter(model: DiffusionModel, size: AdapterSize, seed: int = 1) -> None:
    """Put an adapter of random values into all networks that LoRAs change, as after training."""
    torch.manual_seed(seed)
    for key, network in networks_of(model).items():
        layers = model.layers(size) if key == "unet" else TEXT_ENCODER_LAYERS
        add_fresh_adapter(network, layers, "trained", size)
        for parameter in adapter_parameters(network, "trained").values():
            torch.nn.init.normal_(parameter, std=0.3)


def save_adapter(model: DiffusionModel, size: AdapterSize, path: Path) -> Path:
    """Write the adapter as the trainer does."""
    states = {key: adapter_state(network, "trained") for key, network in networks_of(model).items()}
    modules = {key: from_peft(state, size) for key, state in states.items()}
    unet = modules.pop("unet")
    save_kohya(path, LoraWeights(unet, metadata={}, **{"text_encoder": {}, **modules}), model.keys)
    return path


def moved(lora: Path) -> set[str]:
    """Return the names of the up-projections that training moved away from zero."""
    return {key for key, value in load_file(lora).items() if ".lora_up" in key and bool(value.any())}
