"""What captions say to the denoiser as the base model reads them: each is read once."""

import torch

from models.diffusion.families import Conditioning, DiffusionModel, networks_of, stack_conditioning
from models.diffusion.lora_stack import adapters_off
from models.trainers.examples import Draw, Prepared


class Readings:
    """The captions of all examples, in the forms in which they are shown, and none; on the CPU."""

    def __init__(self, model: DiffusionModel, prepared: Prepared) -> None:
        self._model, self._prepared = model, prepared
        forms = [self._key(caption, index) for index, own in enumerate(prepared.captions) for caption in ("", *own)]
        self._read: dict[tuple[str, int], Conditioning] = {}
        with torch.no_grad(), adapters_off(*networks_of(model).values()):
            for caption, index in sorted(set(forms)):
                told = model.encode_prompts([caption], [prepared.views[index]])
                self._read[caption, index] = {name: tensor.cpu() for name, tensor in told.items()}

    def of(self, batch: Draw) -> Conditioning:
        """Return what the captions of a batch say, on the model's device."""
        told = [self._read[self._key(*pair)] for pair in zip(batch.captions, batch.indices, strict=True)]
        empty = self._read[self._key("", batch.indices[0])]
        return on_device(self._model.stacked(told, empty), self._model)

    def _key(self, caption: str, index: int) -> tuple[str, int]:
        """Return what a caption's reading depends on: itself, and where the family edits, the example it is of."""
        return caption, index if self._model.edits else 0


def seen(model: DiffusionModel, prepared: Prepared, batch: Draw) -> Conditioning:
    """Return what the denoiser is told of a batch besides its captions, on the model's device."""
    return on_device(stack_conditioning([prepared.described[index] for index in batch.indices]), model)


def on_device(told: Conditioning, model: DiffusionModel) -> Conditioning:
    """Return what is told, where the model is."""
    return {name: tensor.to(model.device) for name, tensor in told.items()}
