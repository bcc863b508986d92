"""Stable Diffusion 1.x out of a diffusers folder or a checkpoint.

Pictures to latents, prompts to embeddings, prompts to pictures.
"""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from models.diffusion import family_of
from models.diffusion.clip_text import clip_tokens, joined
from models.diffusion.drawing import Drawing
from models.diffusion.families import FROM_DISK, Call, Conditioning, View, device_called, frozen, quiet
from models.diffusion.lora_file import SD1_KEYS, KeyFormat
from models.diffusion.precision import PRECISIONS
from models.diffusion.single_file import read_checkpoint
from models.diffusion.unet_model import UNetModel

STATES = "states"


@dataclass(frozen=True)
class StableDiffusion(UNetModel):
    """The networks of one base model, frozen, on one device."""

    embeds: ClassVar[Mapping[str, str]] = {"prompt_embeds": STATES}

    # Any: the members of these classes are declared in no way that a type checker reads.
    tokenizer: Any  # CLIPTokenizer
    text_encoder: Any  # CLIPTextModel
    vae: Any  # AutoencoderKL
    unet: Any  # UNet2DConditionModel
    scheduler: Any  # DDPMScheduler
    device: torch.device
    keys: KeyFormat = SD1_KEYS
    multiple: int = 8
    edits: bool = False
    clip_skip: int = 1  # the text encoder's layer that is read, counted from the last

    @property
    def text_encoders(self) -> dict[str, Any]:
        """CLIP's text encoder, which LoRAs may change."""
        return {"text_encoder": self.text_encoder}

    @property
    def word_tokenizers(self) -> dict[str, Any]:
        """CLIP's tokenizer."""
        return {"text_encoder": self.tokenizer}

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:  # noqa: ARG002
        """Return hidden states (N, 77, dim) of the text encoder; gradients flow where adapters are trained.

        Those of its last layer, or as many before as `clip_skip` says, through its final norm. Of prompts in several
        parts they are 77 tokens each.

        Raises:
            InputFault: a prompt has more tokens than are read: its end would be lost.
        """
        tokens = clip_tokens(self.tokenizer, prompts, self.text_encoder)
        if self.clip_skip == 1:
            states = self.text_encoder(tokens.flatten(0, 1))[0]
        else:
            layers = self.text_encoder(tokens.flatten(0, 1), output_hidden_states=True).hidden_states
            states = self.text_encoder.final_layer_norm(layers[-self.clip_skip])
        return {STATES: joined(states, tokens).flatten(1, 2)}

    def describe(self, views: Sequence[View]) -> Conditioning:  # noqa: ARG002  part of what all families do
        """Return nothing: the U-Net is told of its prompts alone."""
        return {}

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return the noise or velocity (N, 4, h, w) that the U-Net sees in `noisy` latents at timesteps (N,)."""
        states = told[STATES]
        prediction: torch.Tensor = self.unet(noisy.to(states.dtype), timesteps, states).sample
        return prediction

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:
        """Return what puts these prompts, read now, into a call of the U-Net that `sample` makes for as many."""
        told = self.encode_guided(prompts, negative_prompt, drawing.guidance)
        return lambda call: {**call, "encoder_hidden_states": told[STATES]}

    def assembled(self, scheduler: DPMSolverMultistepScheduler) -> Any:  # noqa: ANN401
        """Return diffusers' pipeline of these networks and a scheduler to draw with."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def load(
    base: Path, precision: Precision = "float32", device: str | None = None, configurations: Path | None = None
) -> StableDiffusion:
    """Return the base model in a diffusers folder or a single checkpoint, read from safetensors only.

    configurations: a checkpoint's, see `read_checkpoint`.

    Raises:
        InputFault: `base` holds no Stable Diffusion 1.x.
        MissingWeights: it is a checkpoint, and its configuration files are not in the hub's cache.
    """
    _require_pipeline(base)
    quiet()
    dtype = PRECISIONS.load(precision)
    if base.is_file():
        whole = read_checkpoint(StableDiffusionPipeline, base, "sd15", configurations)
        text_encoder, vae, unet = whole.text_encoder.to(dtype), whole.vae, whole.unet.to(dtype)
        tokenizer, scheduler = whole.tokenizer, DDPMScheduler.from_config(whole.scheduler.config)
    else:
        text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=dtype, **FROM_DISK)
        vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32, **FROM_DISK)
        unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=dtype, **FROM_DISK)
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(base / "scheduler", local_files_only=True)
    where = device_called(device)
    text_encoder, vae, unet = frozen(text_encoder, where), frozen(vae, where), frozen(unet, where, precision)
    return StableDiffusion(tokenizer, text_encoder, vae, unet, scheduler, where)


def reading_layer(model: StableDiffusion, clip_skip: int) -> StableDiffusion:
    """Return the base model with this layer of its text encoder read, counted from the last, as `clip_skip` counts.

    NovelAI's way, which AUTOMATIC1111 and kohya's sd-scripts know by that name; diffusers counts one less.

    Raises:
        InputFault: the text encoder has fewer layers.
    """
    count = model.text_encoder.config.num_hidden_layers
    if clip_skip > count:
        message = f"clip_skip is {clip_skip}, but the base model's text encoder has {count} layers: lower it"
        raise InputFault(message)
    return replace(model, clip_skip=clip_skip)


def _require_pipeline(base: Path) -> None:
    if (family := family_of(base)) != "sd15":
        message = f"base model {base} is of the family {family}, not a StableDiffusionPipeline"
        raise InputFault(message)
