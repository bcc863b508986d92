"""FLUX.1 out of a diffusers folder: a transformer that flows from noise to pictures. Black Forest Labs, 2024."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from models.diffusion import WINDOWS
from models.diffusion.drawing import Drawing, pipeline_arguments
from models.diffusion.families import FROM_DISK, Call, Conditioning, View, device_called, frozen, quiet, to_levels
from models.diffusion.flow_transformer import FlowTransformer
from models.diffusion.flux_keys import FLUX_KEYS
from models.diffusion.lora_file import KeyFormat
from models.diffusion.patches import PATCH, pack, unpack
from models.diffusion.precision import PRECISIONS
from models.diffusion.unet_model import ENCODE_BATCH, encode

MOST_TOKENS = WINDOWS["flux"].tokens
TRAINING_GUIDANCE = 1.0
"""What the network, distilled from one with classifier-free guidance, is told in training: draw as you are."""
_STATES, _POOLED = "states", "pooled"


@dataclass(frozen=True)
class Flux(FlowTransformer):
    """The networks of one base model, frozen, on one device."""

    # Any: the members of these classes are declared in no way that a type checker reads.
    tokenizers: tuple[Any, Any]  # CLIPTokenizer, T5Tokenizer
    text_encoder: Any  # CLIPTextModel
    text_encoder_2: Any  # T5EncoderModel
    vae: Any  # AutoencoderKL
    transformer: Any  # FluxTransformer2DModel
    scheduler: Any  # FlowMatchEulerDiscreteScheduler
    device: torch.device
    keys: KeyFormat = FLUX_KEYS
    multiple: int = 16
    edits: bool = False

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents (N, 16, H/8, W/8) float32, centred and scaled, of `images` (N, 3, H, W) in -1..1."""
        latents = encode(self.vae, images.split(ENCODE_BATCH))
        return (latents - float(self.vae.config.shift_factor)) * float(self.vae.config.scaling_factor)

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return T5's last hidden states (N, 512, dim) and CLIP's pooled ones (N, dim 2).

        CLIP reads the beginning of a prompt, T5 all of it: so the family does.

        Raises:
            InputFault: a prompt has more tokens than T5 reads here.
        """
        first, second = self.tokenizers
        length = min(second.model_max_length, MOST_TOKENS)
        for prompt in prompts:
            if (count := len(second(prompt).input_ids)) > length:
                message = f"prompt {prompt!r} has {count} tokens, end included; {length} are read: shorten it"
                raise InputFault(message)
        short = first(list(prompts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        whole = second(list(prompts), padding="max_length", max_length=length, return_tensors="pt").input_ids
        pooled = self.text_encoder(short.to(self.text_encoder.device)).pooler_output
        states = self.text_encoder_2(whole.to(self.text_encoder_2.device))[0]
        return {_STATES: states.to(self.device), _POOLED: pooled.to(self.device)}

    def set_aside_text_encoders(self) -> None:
        """Free the device's memory of the text encoders, which then read on the CPU."""
        self.text_encoder.to("cpu")
        self.text_encoder_2.to("cpu")

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return the velocity (N, 16, h, w) that the transformer sees in `noisy` latents at shares of noise (N,)."""
        height, width = noisy.shape[2:]
        states = told[_STATES]
        guided = self.transformer.config.guidance_embeds
        tokens = self.transformer(
            hidden_states=pack(noisy).to(states.dtype),
            timestep=timesteps,
            guidance=torch.full_like(timesteps, TRAINING_GUIDANCE) if guided else None,
            pooled_projections=told[_POOLED],
            encoder_hidden_states=states,
            txt_ids=torch.zeros((states.shape[1], 3), device=self.device),
            img_ids=_places(height // 2, width // 2, self.device),
        ).sample
        return unpack(tokens, height, width)

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return a picture (size, width, 3) RGB uint8 for each prompt and its seed, by Euler steps along the flow.

        Raises:
            InputFault: there is a negative prompt, which FLUX cannot be told.
        """
        if negative_prompt:
            message = f"negative prompt {negative_prompt!r}: FLUX's guidance is distilled, it takes none: empty it"
            raise InputFault(message)
        with torch.no_grad():
            told = self.encode_prompts(prompts)
            tokens = self._pipeline()(
                prompt_embeds=told[_STATES],
                pooled_prompt_embeds=told[_POOLED],
                guidance_scale=drawing.guidance,
                **pipeline_arguments(seeds, drawing),
            ).images
            height, width = (PATCH * side for side in drawing.grid(self.multiple))
            latents = unpack(tokens.float(), height, width)
            latents = latents / self.vae.config.scaling_factor + self.vae.config.shift_factor
            values = self.vae.decode(latents).sample
        return to_levels(values)  # of (N, 3, H, W) in -1..1

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:  # noqa: ARG002
        """Return what puts these prompts, read now, into a call of the transformer; there is no negative one."""
        told = self.encode_prompts(prompts)
        return lambda call: {**call, "encoder_hidden_states": told[_STATES], "pooled_projections": told[_POOLED]}

    def _pipeline(self) -> Any:  # noqa: ANN401
        pipeline: Any = FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler.from_config(self.scheduler.config),
            vae=self.vae,
            # Prompts are encoded before. Text encoders set aside would have it take the CPU for its device.
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            transformer=self.transformer,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def load(folder: Path, precision: Precision = "float32", device: str | None = None) -> Flux:
    """Return the base model in the diffusers folder `folder`, read from safetensors only."""
    quiet()
    dtype, where = PRECISIONS.load(precision), device_called(device)
    # One after another onto the device, so that RAM never holds two of the large ones.
    one = frozen(CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, **FROM_DISK), where)
    two = frozen(T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=dtype, **FROM_DISK), where, precision)
    vae = frozen(AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **FROM_DISK), where)
    transformer = FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=dtype, **FROM_DISK)
    transformer = frozen(transformer, where, precision)
    first = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    second = T5Tokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    return Flux((first, second), one, two, vae, transformer, scheduler, where)


def _places(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """Return where each token is (rows * columns, 3): nothing, its row, its column."""
    places = torch.zeros((rows, columns, 3), device=device)
    places[..., 1] = torch.arange(rows, device=device)[:, None]
    places[..., 2] = torch.arange(columns, device=device)[None, :]
    return places.reshape(rows * columns, 3)
