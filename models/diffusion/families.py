"""What trainer and generator ask of a base model, whatever its family."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import diffusers.utils.logging
import numpy as np
import torch
import transformers.utils.logging
from numpy.typing import NDArray

from data_contracts.generation import BlockGroup, Precision
from data_contracts.training import TrainSettings
from models.device import gpu_or_cpu
from models.diffusion.drawing import Drawing
from models.diffusion.four_bits import hold_in_four_bits
from models.diffusion.lora_file import AdapterSize, KeyFormat
from models.diffusion.objective import Prior
from models.diffusion.regions import Grid, Window
from models.pictures import Picture

FROM_DISK: Mapping[str, Any] = {"use_safetensors": True, "local_files_only": True}
"""How weights are read: never fetched, never unpickled."""
DENOISER = "unet"
"""What kohya's files call the network that takes the noise away, also where it is no U-Net."""
Conditioning = Mapping[str, torch.Tensor]
"""What a denoiser is told of its prompts: tensors, the batch first, by names of the family's own."""
Call = Mapping[str, Any]
"""The arguments that a denoiser is called with, by name."""


@dataclass(frozen=True)
class View:
    """What part of a picture is seen, in pixels.

    original: the picture's height and width. size: height and width that are seen, once the picture is scaled to cover
    them. crop: top and left of what is seen, after that. control: what was edited into it, of the same size.
    """

    original: tuple[int, int]
    crop: tuple[int, int]
    size: tuple[int, int]
    control: Picture | None = None


class Objective(Protocol):
    """What a denoiser is trained to say. A timestep is what the family calls so: 0..999, or a share of noise 0..1."""

    @property
    def offsets_noise(self) -> bool:
        """Whether noise may be moved by `offset_noise`: that fits a diffusion, not a flow between two fixed ends."""
        ...

    @property
    def prediction_type(self) -> str:
        """What is predicted, in diffusers' words; "flow" for the velocity of a flow."""
        ...

    def draw_timestep(self, generator: torch.Generator) -> torch.Tensor:
        """Return one random timestep (1,)."""
        ...

    def disturb(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return `latents` (N, C, h, w) with as much `noise` in them as the timesteps (N,) say."""
        ...

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the denoiser should say (N, C, h, w)."""
        ...

    def losses(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor | None = None,
        prior: Prior | None = None,
    ) -> torch.Tensor:
        """Return the loss (N,) of each picture from prediction, target (N, C, h, w), mask (N, 1, h, w) in 0..1."""
        ...


class DiffusionModel(Protocol):
    """A base model of one family, its networks frozen on one device."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        ...

    @property
    def denoiser(self) -> Any:  # noqa: ANN401  diffusers does not declare its networks' members
        """The network that takes the noise away, and that LoRAs change."""
        ...

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """The text encoders that LoRAs may change as well, by the names of LoraWeights."""
        ...

    @property
    def word_tokenizers(self) -> Mapping[str, Any]:
        """The tokenizers of those text encoders that can be taught words, by the same names."""
        ...

    @property
    def keys(self) -> KeyFormat:
        """How LoRA files of the family are written."""
        ...

    @property
    def multiple(self) -> int:
        """What a picture's sides must be a multiple of, in pixels."""
        ...

    @property
    def edits(self) -> bool:
        """Whether it draws by editing a picture, so that prompts are read beside that."""
        ...

    def layers(self, size: AdapterSize) -> str:
        """Return the pattern of the denoiser's layers that an adapter of this size changes.

        Raises:
            InputFault: the denoiser has no layers of the kind that the size is for.
        """
        ...

    def block_group(self, layer: str) -> BlockGroup:
        """Return the group of blocks that a layer of the denoiser, by its dotted name, belongs to.

        Raises:
            InputFault: the family's denoiser has no such groups.
        """
        ...

    def objective(self, settings: TrainSettings) -> Objective:
        """Return what the denoiser is trained to say."""
        ...

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scaled latents (N, C, h, w) float32, on the CPU, of `images` (N, 3, H, W) float32 in -1..1."""
        ...

    def encode_prompts(self, prompts: Sequence[str], views: Sequence[View] = ()) -> Conditioning:
        """Return what the denoiser is told; gradients flow where text encoders have adapters that are trained.

        views: what is edited, one for each prompt, where the family edits.

        Raises:
            InputFault: a prompt has more tokens than are read: its end would be lost.
        """
        ...

    def stacked(self, told: Sequence[Conditioning], empty: Conditioning) -> Conditioning:
        """Return what several prompts, read one by one, say as one batch; empty: what the empty prompt says."""
        ...

    def set_aside_text_encoders(self) -> None:
        """Free the device's memory of large text encoders, once all captions are encoded; they still work."""
        ...

    def describe(self, views: Sequence[View]) -> Conditioning:
        """Return what the denoiser is told besides prompts; in most families nothing."""
        ...

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        """Return what the denoiser says (N, C, h, w) of `noisy` latents at timesteps (N,)."""
        ...

    def sample(
        self, prompts: Sequence[str], negative_prompt: str, seeds: Sequence[int], drawing: Drawing
    ) -> list[NDArray[np.uint8]]:
        """Return a picture (size, width, 3) RGB uint8 for each prompt and its seed."""
        ...

    def reading(self, prompts: Sequence[str], negative_prompt: str, drawing: Drawing) -> Callable[[Call], Call]:
        """Return what puts these prompts into a call of the denoiser that `sample` makes for as many.

        They are read now: so other LoRAs may be on in the text encoders than when `sample` reads them.

        Raises:
            InputFault: a prompt has more tokens than are read.
        """
        ...

    def seen_through(self, call: Call, grid: Grid, window: Window) -> Call:
        """Return a call of the denoiser that sees only a window of the latents, of which there are `grid`."""
        ...


def networks_of(model: DiffusionModel) -> dict[str, Any]:
    """Return the networks that LoRAs change, the denoiser first, by the names of LoraWeights."""
    return {DENOISER: model.denoiser, **model.text_encoders}


def stack_conditioning(told: Sequence[Conditioning]) -> Conditioning:
    """Return what several prompts say as one batch; the shorter of texts (1, tokens, …) are filled up with zeros."""
    return {name: _stack([each[name] for each in told]) for name in told[0]}


def _stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    longest = max(tensor.shape[1] for tensor in tensors)
    filled = []
    for tensor in tensors:
        missing = longest - tensor.shape[1]
        filler = tensor.new_zeros((tensor.shape[0], missing, *tensor.shape[2:]))
        filled.append(torch.cat([tensor, filler], dim=1) if missing else tensor)
    return torch.cat(filled)


def quiet() -> None:
    """Have no progress bars for reading weights."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def device_called(name: str | None) -> torch.device:
    """Return the device of this name, or the GPU where there is one."""
    return torch.device(name) if name else gpu_or_cpu()


def frozen(network: Any, device: torch.device, precision: Precision = "bfloat16") -> Any:  # noqa: ANN401
    """Return a network, frozen, on `device`; at nf4 its weights are rounded on their way there."""
    if precision == "nf4":
        hold_in_four_bits(network)
    return network.requires_grad_(requires_grad=False).eval().to(device)


def to_levels(values: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Return pictures (H, W, 3) RGB uint8 of `values` (N, 3, H, W) in -1..1."""
    levels: NDArray[np.uint8] = values.add(1).mul(127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(levels)
