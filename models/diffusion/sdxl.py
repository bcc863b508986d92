"""Stable Diffusion XL out of a diffusers folder or a checkpoint. Podell et al., SDXL, 2023."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from data_contracts.generation import Precision
from models.diffusion.clip_text import clip_tokens, joined
from models.diffusion.drawing import Drawing
from models.diffusion.families import FROM_DISK, Call, Conditioning, View, device_called, frozen, quiet
from models.diffusion.lora_file import KeyFormat
from models.diffusion.precision import PRECISIONS
from models.diffusion.sgm_keys import SDXL_KEYS
from models.diffusion.single_file import read_checkpoint
from models.diffusion.unet_model import UNetModel

_STATES, _POOLED, _TIME_IDS = "states", "pooled", "time_ids"
_PENULTIMATE = -2


@dataclass(frozen=True)
class StableDiffusionXL(UNetModel):
    """The networks of one base model, frozen, on one device."""

    embeds: ClassVar[Mapping[str, str]] = {"prompt_embeds": _STATES, "pooled_prompt_embeds": _POOLED}

    # Any: the members of these classes are declared in no way that a type checker reads.
    tokenizers: tuple[Any, Any]  # CLIPTokenizer
    text_encoder: Any  # CLIPTextModel
    text_encoder_2: Any  # CLIPTextModelWithProjection
    vae: Any  # AutoencoderKL, float32: in half precision SDXL's overflows
    unet: Any  # UNet2DConditionModel
    scheduler: Any  # DDPMScheduler
    device: torch.device
    keys: KeyFormat = SDXL_KEYS
    multiple: int = 8
    edits: bool = False

    @property
    def text_encoders(self) -> dict[str, Any]:
        """CLIP's and OpenCLIP's text encoder, which LoRAs may change."""
        return {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    @property
    def word_tokenizers(self) -> dict[str, Any]:
        """CLIP's and OpenCLIP's tokenizer."""
        return dict(zip(self.text_encoders, self.tokenizers, strict=True))

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return both encoders' last but one hidden states (N, 77, dim + dim 2), and the second's pooled (N, dim 2).

        Of prompts in several parts they are 77 tokens each, and pooled is the first.

        Raises:
            InputFault: a prompt has more tokens than are read.
        """
        read = zip(self.tokenizers, self.text_encoders.values(), strict=True)
        first, second = (clip_tokens(tokenizer, prompts, encoder) for tokenizer, encoder in read)
        one = self.text_encoder(first.flatten(0, 1), output_hidden_states=True)
        two = self.text_encoder_2(second.flatten(0, 1), output_hidden_states=True)
        states = torch.cat([one.hidden_states[_PENULTIMATE], two.hidden_states[_PENULTIMATE]], dim=-1)
        pooled = joined(two.text_embeds, first)[:, 0]
        return {_STATES: joined(states, first).flatten(1, 2).to(self.device), _POOLED: pooled.to(self.device)}

    def set_aside_text_encoders(self) -> None:
        """Free the device's memory of the text encoders, which then read on the CPU: in half precision 1.6 GB."""
        self.text_encoder.to("cpu")
        self.text_encoder_2.to("cpu")

    def describe(self, views: Sequence[View]) -> Conditioning:
        """Return the original size, top and left of the crop, and the size seen, in pixels (N, 6). Ibid., 2.2."""
        ids = [[*view.original, *view.crop, *view.size] for view in views]
        return {_TIME_IDS: torch.tensor(ids, dtype=torch.float32, device=self.device)}

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return the noise or velocity (N, 4, h, w) that the U-Net sees in `noisy` latents at timesteps (N,)."""
        states = told[_STATES]
        added = {"text_embeds": told[_POOLED], "time_ids": told[_TIME_IDS]}
        prediction: torch.Tensor = self.unet(noisy.to(states.dtype), timesteps, states, added_cond_kwargs=added).sample
        return prediction

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:
        """Return what puts these prompts, read now, into a call of the U-Net that `sample` makes for as many."""
        told = self.encode_guided(prompts, negative_prompt, drawing.guidance)

        def read(call: Call) -> Call:
            added = {**call["added_cond_kwargs"], "text_embeds": told[_POOLED]}
            return {**call, "encoder_hidden_states": told[_STATES], "added_cond_kwargs": added}

        return read

    def assembled(self, scheduler: DPMSolverMultistepScheduler) -> Any:  # noqa: ANN401
        """Return diffusers' pipeline of these networks and a scheduler to draw with."""
        # Text encoders set aside would have it take the CPU for its device.
        one, two = (each if each.device == self.device else None for each in self.text_encoders.values())
        return StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=one,
            text_encoder_2=two,
            tokenizer=self.tokenizers[0],
            tokenizer_2=self.tokenizers[1],
            unet=self.unet,
            scheduler=scheduler,
            add_watermarker=False,
        )


def load(
    base: Path, precision: Precision = "float32", device: str | None = None, configurations: Path | None = None
) -> StableDiffusionXL:
    """Return the base model in a diffusers folder or a single checkpoint, read from safetensors only.

    configurations: a checkpoint's, see `read_checkpoint`.

    Raises:
        MissingWeights: `base` is a checkpoint, and its configuration files are not in the hub's cache.
    """
    quiet()
    dtype = PRECISIONS.load(precision)
    if base.is_file():
        whole = read_checkpoint(StableDiffusionXLPipeline, base, "sdxl", configurations)
        one, two, vae, unet = whole.text_encoder, whole.text_encoder_2, whole.vae, whole.unet.to(dtype)
        one, two = one.to(dtype), two.to(dtype)
        first, second = whole.tokenizer, whole.tokenizer_2
        scheduler = DDPMScheduler.from_config(whole.scheduler.config)
    else:
        one = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=dtype, **FROM_DISK)
        two = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2", dtype=dtype, **FROM_DISK)
        vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32, **FROM_DISK)
        unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=dtype, **FROM_DISK)
        first = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        second = CLIPTokenizer.from_pretrained(base / "tokenizer_2", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(base / "scheduler", local_files_only=True)
    where = device_called(device)
    one, two, vae, unet = frozen(one, where), frozen(two, where), frozen(vae, where), frozen(unet, where, precision)
    return StableDiffusionXL((first, second), one, two, vae, unet, scheduler, where)
