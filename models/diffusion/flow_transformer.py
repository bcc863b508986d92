"""What FLUX and Qwen-Image have in common: a transformer that reads latents in patches and is trained on a flow."""

from collections.abc import Sequence
from typing import Any

import torch

from data_contracts.faults import InputFault
from data_contracts.generation import BlockGroup
from data_contracts.training import TrainSettings
from models.diffusion.families import Call, Conditioning, View, stack_conditioning
from models.diffusion.flow import FlowMatching, flow_objective
from models.diffusion.lora_file import AdapterSize, KeyFormat
from models.diffusion.regions import Grid, Window

ATTENTION_LAYERS = r"(single_)?transformer_blocks\.\d+\.attn\.(to_q|to_k|to_v|to_out\.0)"
"""Query, key, value and output of the picture's own tokens: what the field trains by default."""


class FlowTransformer:
    """Half of a `DiffusionModel`, for those that have such a transformer."""

    # Any: the members of these classes are declared in no way that a type checker reads.
    transformer: Any
    scheduler: Any  # FlowMatchEulerDiscreteScheduler
    keys: KeyFormat
    multiple: int

    @property
    def denoiser(self) -> Any:  # noqa: ANN401
        """The transformer."""
        return self.transformer

    @property
    def text_encoders(self) -> dict[str, Any]:
        """None: LoRAs leave these families' text encoders as they are."""
        return {}

    @property
    def word_tokenizers(self) -> dict[str, Any]:
        """None: nor are they taught words."""
        return {}

    def layers(self, size: AdapterSize) -> str:
        """Return the pattern of the attention's layers.

        Raises:
            InputFault: the adapter is to change convolutions, of which a transformer has none.
        """
        if size.conv_rank:
            message = f"conv_rank is {size.conv_rank}, but {self.keys.family} has no convolutions: set it to 0"
            raise InputFault(message)
        return ATTENTION_LAYERS

    def block_group(self, layer: str) -> BlockGroup:
        """Refuse: all blocks of a transformer see the picture at one resolution.

        Raises:
            InputFault: always.
        """
        message = f"{layer} of {self.keys.family} is in no inner or outer block: give LoRAs one weight, without blocks"
        raise InputFault(message)

    def objective(self, settings: TrainSettings) -> FlowMatching:
        """Return the velocity to be predicted; the shift is that of drawing pictures of this size."""
        return flow_objective(settings, self.scheduler.config, (settings.resolution // self.multiple) ** 2)

    def describe(self, views: Sequence[View]) -> Conditioning:  # noqa: ARG002  part of what all families do
        """Return nothing: the transformer is told of its prompts alone."""
        return {}

    def stacked(self, told: Sequence[Conditioning], empty: Conditioning) -> Conditioning:  # noqa: ARG002
        """Return what several prompts say as one batch; the shorter are filled up with zeros."""
        return stack_conditioning(told)

    def seen_through(self, call: Call, grid: Grid, window: Window) -> Call:
        """Return a call of the transformer that sees only a window of the tokens, which lie there row by row.

        FLUX is told where each is in the whole picture, Qwen-Image how large the window is.
        """
        places = torch.arange(grid[0] * grid[1]).view(grid)[window]  # (rows, columns): numbers of tokens
        chosen = places.flatten().to(call["hidden_states"].device)
        part = {**call, "hidden_states": call["hidden_states"][:, chosen]}
        if "img_ids" in call:
            part["img_ids"] = call["img_ids"][chosen]
        if "img_shapes" in call:
            part["img_shapes"] = [[(1, *places.shape)] for _ in call["img_shapes"]]
        return part
