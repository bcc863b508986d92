"""Qwen-Image-Edit out of a diffusers folder: it reads a prompt beside the picture to be edited. Qwen team, 2025."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from transformers import Qwen2VLImageProcessorPil

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from models.diffusion.drawing import Drawing, own_generators
from models.diffusion.families import Call, Conditioning, View, stack_conditioning
from models.diffusion.flow import size_shift
from models.diffusion.lora_file import KeyFormat
from models.diffusion.patches import pack, unpack
from models.diffusion.qwen_image import CONTROL, MASK, MOST_TOKENS, STATES, QwenImage, read_networks
from models.diffusion.qwen_keys import QWEN_EDIT_KEYS
from models.pictures import Picture

_PICTURE = "<|image_pad|>"
QUESTION = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where appropriate."
    "<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
)
"""What the language model is asked, as in the family's training."""
QUESTION_TOKENS = 64
"""How many of its first tokens say nothing of picture and prompt, and are left out."""


@dataclass(frozen=True)
class QwenImageEdit(QwenImage):
    """The networks of one base model, frozen, on one device."""

    pictures: Any = field(kw_only=True)  # Qwen2VLImageProcessorPil
    keys: KeyFormat = QWEN_EDIT_KEYS
    edits: bool = True

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:
        """Return the language model's last hidden states (N, tokens, dim) of pictures and prompts, and which count.

        Raises:
            InputFault: a prompt has more tokens than are read, or no picture to be edited.
        """
        if len(views) != len(prompts) or any(view.control is None for view in views):
            message = f"{self.keys.family} edits pictures: each of {len(prompts)} prompts needs a control picture"
            raise InputFault(message)
        pairs = zip(prompts, views, strict=True)
        return stack_conditioning([self._read_beside(prompt, view.control) for prompt, view in pairs])

    def describe(self, views: Sequence[View]) -> Conditioning:
        """Return the latents (N, 16, h, w) of the pictures to be edited."""
        pixels = [torch.from_numpy(view.control).permute(2, 0, 1).float() / 127.5 - 1 for view in views]
        return {CONTROL: self.encode_images(torch.stack(pixels)).to(self.device)}

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return `drawing.controls` edited (size, size, 3) RGB uint8, each by its prompt, by Euler steps.

        diffusers' own pipeline enlarges what is edited to a megapixel; here it keeps the size that is trained.

        Raises:
            InputFault: there is not a control picture for each prompt.
        """
        square = (drawing.size, drawing.size)
        views = [View(square, (0, 0), square, control) for control in drawing.controls]
        side = 2 * (drawing.size // self.multiple)
        with torch.no_grad():
            told = {**self.encode_prompts(prompts, views), **self.describe(views)}
            against: Conditioning = {}
            if drawing.guidance > 1:
                against = {**told, **self.encode_prompts([negative_prompt] * len(prompts), views)}
            shape = (1, self.transformer.config.in_channels // 4, side, side)
            noise = [torch.randn(shape, generator=generator) for generator in own_generators(seeds)]
            latents = torch.cat(noise).to(self.device)
            scheduler = self._steps(drawing.steps, (side // 2) ** 2)
            for time in scheduler.timesteps:
                share = (time / scheduler.config.num_train_timesteps).expand(len(prompts))
                velocity = self.predict(latents, share, told).float()
                if against:
                    velocity = guided(velocity, self.predict(latents, share, against).float(), drawing.guidance)
                latents = scheduler.step(velocity, time, latents).prev_sample
            return self.decode(latents)

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:  # noqa: ARG002
        """Return what leaves calls as they are: LoRAs do not change how prompts are read."""
        return lambda call: call

    def _steps(self, steps: int, tokens: int) -> Any:  # noqa: ANN401
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.scheduler.config)
        shares = np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(sigmas=shares, mu=size_shift(scheduler.config, tokens), device=self.device)
        return scheduler

    def _read_beside(self, prompt: str, picture: Picture | None) -> Conditioning:
        cut = self.pictures(images=[picture], return_tensors="pt")
        grid = cut["image_grid_thw"]  # (1, 3) patches in time, height, width
        count = int(grid.prod()) // self.pictures.merge_size**2
        written = QUESTION.format(prompt).replace(_PICTURE, _PICTURE * count, 1)
        ids = self.tokenizer(written, return_tensors="pt").input_ids
        if (tokens := ids.shape[1] - QUESTION_TOKENS - count) > MOST_TOKENS:
            message = f"prompt {prompt!r} has {tokens} tokens; {MOST_TOKENS} are read: shorten it"
            raise InputFault(message)
        seen = {
            "input_ids": ids,
            "mm_token_type_ids": (ids == self.text_encoder.config.image_token_id).int(),
            "pixel_values": cut["pixel_values"].to(self.text_encoder.dtype),
            "image_grid_thw": grid,
        }
        where = self.text_encoder.device
        read = self.text_encoder(**{name: value.to(where) for name, value in seen.items()}, output_hidden_states=True)
        states = read.hidden_states[-1][:, QUESTION_TOKENS:].to(self.device)
        return {STATES: states, MASK: torch.ones(states.shape[:2], dtype=torch.long, device=self.device)}


def load(folder: Path, precision: Precision = "float32", device: str | None = None) -> QwenImageEdit:
    """Return the base model in the diffusers folder `folder`, read from safetensors only."""
    pictures = Qwen2VLImageProcessorPil.from_pretrained(folder / "processor", local_files_only=True)
    return QwenImageEdit(*read_networks(folder, precision, device), pictures=pictures)


def guided(towards: torch.Tensor, away: torch.Tensor, scale: float) -> torch.Tensor:
    """Return velocities (N, C, h, w) moved `scale` times as far from `away`, each token as long as it was."""
    height, width = towards.shape[2:]
    wanted = pack(towards)
    moved = pack(away + scale * (towards - away))
    length = wanted.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True)
    return unpack(moved * length, height, width)
