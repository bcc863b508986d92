"""What kohya's sd-scripts say while they train: their progress, and what went wrong, of which they say little."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from data_contracts.faults import InputFault, StageFault

PROGRESS = re.compile(r"steps:\s+\d+%\|.*?\|\s*(\d+)/(\d+) \[[^\]]*?(?:avr_loss=([\d.eE+-]+|nan|inf))?\]")
_NOT_TRAINING = ("validation", "epoch")
_NO_PICTURES = re.compile(r"No data found\. Please verify|ignore subset with image_dir='([^']*)': no images found")
_NO_CAPTIONS = re.compile(r"No caption file found for (\d+) images")
_NOT_LOADED = re.compile(r"Some weights of (\w+) were not initialized from the model checkpoint")
_NO_MEMORY = re.compile(r"OutOfMemoryError|CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED|CPUAllocator: can't alloc")
_BAD_OPTION = re.compile(r"(?:reel2lora refuses|error: unrecognized arguments|MultipleInvalid): ?(.*)")
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt|Invalid|Warning)\b.*)$")
_KEPT = "what is saved is kept, and a rerun goes on from it"


@dataclass(frozen=True)
class Progress:
    """Steps of this start of sd-scripts, and the mean loss since, where it is told yet."""

    step: int
    loss: float | None


def progress_of(line: str) -> Progress | None:
    """Return what a line of a progress bar tells, None for all other lines."""
    if line.startswith(_NOT_TRAINING) or not (found := PROGRESS.search(line)):
        return None
    loss = found.group(3)
    return Progress(int(found.group(1)), None if loss is None else float(loss))


def require_sound(line: str) -> None:
    """Look for what sd-scripts only warn of, or go on after, though what they train is not what was asked for.

    Raises:
        InputFault: pictures or captions are missing.
        StageFault: a network was not read from the base model.
        FloatingPointError: the loss is no longer a finite number.
    """
    if found := _NO_PICTURES.search(line):
        message = f"sd-scripts found no pictures{f' in {found[1]}' if found[1] else ''}: train again, which writes them"
        raise InputFault(message)
    if found := _NO_CAPTIONS.search(line):
        message = (
            f"{found[1]} pictures have no caption file, and sd-scripts would learn them without words: "
            "train again, which writes them"
        )
        raise InputFault(message)
    if found := _NOT_LOADED.search(line):
        message = (
            f"the base model's files hold no weights under the names that {found[1]} has in sd-scripts' transformers, "
            "which go on with random ones: give a base model saved by diffusers, or use `trainer: native`"
        )
        raise StageFault(message)
    progress = progress_of(line)
    if progress and progress.loss is not None and not math.isfinite(progress.loss):
        message = f"loss {progress.loss} at step {progress.step} of this start: lower learning_rate; {_KEPT}"
        raise FloatingPointError(message)


def failure_of(code: int, lines: Iterable[str]) -> Exception:
    """Return why sd-scripts ended without a LoRA, from their exit code and their last lines."""
    last = list(lines)
    for line in reversed(last):
        if found := _BAD_OPTION.search(line):
            return InputFault(f"sd-scripts were not given what they take: {found[1].strip() or line.strip()}")
        if _NO_MEMORY.search(line):
            message = "sd-scripts ran out of memory: lower batch (accumulate makes up for it) or resolution, "
            return StageFault(message + f"turn gradient_checkpointing on, or set precision to bfloat16; {_KEPT}")
    if code == 0:
        return StageFault("sd-scripts ended as if all were well, but wrote no LoRA; their log.txt says what they did")
    said = next((found[1] for line in reversed(last) if (found := _EXCEPTION.match(line.strip()))), None)
    shown = said or "\n".join(line for line in last[-3:] if line.strip()) or "they said nothing"
    return StageFault(f"sd-scripts ended with code {code}: {shown}; {_KEPT}")
