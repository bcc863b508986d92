"""Qwen-Image out of a diffusers folder: a transformer that reads with a vision-language model. Qwen team, 2025."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from numpy.typing import NDArray
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from models.diffusion import WINDOWS
from models.diffusion.drawing import Drawing, pipeline_arguments
from models.diffusion.families import (
    FROM_DISK,
    Call,
    Conditioning,
    View,
    device_called,
    frozen,
    quiet,
    stack_conditioning,
    to_levels,
)
from models.diffusion.flow_transformer import FlowTransformer
from models.diffusion.lora_file import KeyFormat
from models.diffusion.patches import PATCH, pack, unpack
from models.diffusion.precision import PRECISIONS
from models.diffusion.qwen_keys import QWEN_KEYS

MOST_TOKENS = WINDOWS["qwen_image"].tokens
QUESTION = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
"""What the language model is asked, as in the family's training."""
QUESTION_TOKENS = 34
"""How many of its first tokens say nothing of the prompt, and are left out."""
STATES, MASK, CONTROL = "states", "mask", "control"


@dataclass(frozen=True)
class QwenImage(FlowTransformer):
    """The networks of one base model, frozen, on one device."""

    # Any: the members of these classes are declared in no way that a type checker reads.
    tokenizer: Any  # Qwen2Tokenizer
    text_encoder: Any  # Qwen2_5_VLForConditionalGeneration
    vae: Any  # AutoencoderKLQwenImage, of videos: a picture is one of one frame
    transformer: Any  # QwenImageTransformer2DModel
    scheduler: Any  # FlowMatchEulerDiscreteScheduler
    device: torch.device
    keys: KeyFormat = QWEN_KEYS
    multiple: int = 16
    edits: bool = False

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents (N, 16, H/8, W/8) float32, each channel normalised, of `images` (N, 3, H, W) in -1..1."""
        mean, deviation = self._latent_spread()
        with torch.no_grad():
            frames = [self.vae.encode(image[None, :, None].to(self.vae.device)).latent_dist.mode() for image in images]
        latents = torch.cat(frames)[:, :, 0]  # (N, 16, h, w): of the one frame
        return ((latents - mean) / deviation).cpu()

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return the language model's last hidden states (N, tokens, dim), and where there are some (N, tokens).

        Each prompt is read by itself, so that what it says does not depend on how long its neighbours are.

        Raises:
            InputFault: a prompt has more tokens than are read.
        """
        return stack_conditioning([self._read(prompt) for prompt in prompts])

    def set_aside_text_encoders(self) -> None:
        """Free the device's memory of the language model, which then reads on the CPU."""
        self.text_encoder.to("cpu")

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return the velocity (N, 16, h, w) that the transformer sees in `noisy` latents at shares of noise (N,)."""
        count, _, height, width = noisy.shape
        states, mask = told[STATES], told[MASK]
        seen = [pack(noisy), *([pack(told[CONTROL])] if CONTROL in told else [])]
        tokens = self.transformer(
            hidden_states=torch.cat(seen, dim=1).to(states.dtype),
            timestep=timesteps,
            encoder_hidden_states=states,
            encoder_hidden_states_mask=None if bool(mask.all()) else mask,
            img_shapes=[[(1, height // 2, width // 2)] * len(seen)] * count,
        ).sample
        return unpack(tokens[:, : seen[0].shape[1]], height, width)

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return a picture (size, width, 3) RGB uint8 for each prompt and its seed, by Euler steps along the flow."""
        with torch.no_grad():
            told = self.encode_prompts(prompts)
            against = self.encode_prompts([negative_prompt] * len(prompts)) if drawing.guidance > 1 else {}
            tokens = self._pipeline()(
                prompt_embeds=told[STATES],
                prompt_embeds_mask=told[MASK],
                negative_prompt_embeds=against.get(STATES),
                negative_prompt_embeds_mask=against.get(MASK),
                true_cfg_scale=drawing.guidance,
                max_sequence_length=MOST_TOKENS,
                **pipeline_arguments(seeds, drawing),
            ).images
            height, width = (PATCH * side for side in drawing.grid(self.multiple))
            return self.decode(unpack(tokens.float(), height, width))

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:
        """Return what puts these prompts, read now, into calls of the transformer that are told of a prompt.

        It is called with the prompts and without them in turn; a call that is told of the negative one stays as it is.
        """
        told = self.encode_prompts(prompts)
        against = self.encode_prompts([negative_prompt] * len(prompts)) if drawing.guidance > 1 else None

        def read(call: Call) -> Call:
            if against is not None and torch.equal(call["encoder_hidden_states"], against[STATES]):
                return call
            mask = None if bool(told[MASK].all()) else told[MASK]
            return {**call, "encoder_hidden_states": told[STATES], "encoder_hidden_states_mask": mask}

        return read

    def decode(self, latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        """Return the pictures (8 h, 8 w, 3) RGB uint8 of normalised `latents` (N, 16, h, w)."""
        mean, deviation = self._latent_spread()
        frames = (latents * deviation + mean)[:, :, None]
        return to_levels(self.vae.decode(frames).sample[:, :, 0])  # of (N, 3, H, W) in -1..1

    def _read(self, prompt: str) -> Conditioning:
        ids = self.tokenizer(QUESTION.format(prompt), return_tensors="pt").input_ids
        if (count := ids.shape[1] - QUESTION_TOKENS) > MOST_TOKENS:
            message = f"prompt {prompt!r} has {count} tokens; {MOST_TOKENS} are read: shorten it"
            raise InputFault(message)
        read = self.text_encoder(input_ids=ids.to(self.text_encoder.device), output_hidden_states=True)
        states = read.hidden_states[-1][:, QUESTION_TOKENS:].to(self.device)
        return {STATES: states, MASK: torch.ones(states.shape[:2], dtype=torch.long, device=self.device)}

    def _latent_spread(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation of the latents' channels, (1, 16, 1, 1) each."""
        config = self.vae.config
        numbers = torch.tensor([config.latents_mean, config.latents_std], device=self.vae.device)
        mean, deviation = numbers[:, None, :, None, None]
        return mean, deviation

    def _pipeline(self) -> Any:  # noqa: ANN401
        pipeline: Any = QwenImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler.from_config(self.scheduler.config),
            vae=self.vae,
            # Prompts are encoded before. A language model set aside would have it take the CPU for its device.
            text_encoder=None,
            tokenizer=None,
            transformer=self.transformer,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def load(folder: Path, precision: Precision = "float32", device: str | None = None) -> QwenImage:
    """Return the base model in the diffusers folder `folder`, read from safetensors only."""
    return QwenImage(*read_networks(folder, precision, device))


def read_networks(folder: Path, precision: Precision, device: str | None) -> tuple[Any, ...]:
    """Return the first fields of QwenImage: tokenizer, networks and scheduler out of `folder`, and their device."""
    quiet()
    dtype, where = PRECISIONS.load(precision), device_called(device)
    # One after another onto the device, so that RAM never holds two of the large ones.
    reader: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder / "text_encoder", dtype=dtype, **FROM_DISK)
    reader = frozen(reader, where, precision)
    vae = frozen(AutoencoderKLQwenImage.from_pretrained(folder / "vae", torch_dtype=torch.float32, **FROM_DISK), where)
    transformer = QwenImageTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=dtype, **FROM_DISK)
    transformer = frozen(transformer, where, precision)
    tokenizer = Qwen2Tokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    return tokenizer, reader, vae, transformer, scheduler, where
