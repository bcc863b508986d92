"""How pictures are drawn, all but what they show."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.regions import Grid
from models.pictures import Picture


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, all but what they show.

    size: height in pixels, and width where there is no other.
    controls: where the family edits pictures, the one to be edited for each prompt, size x size.
    """

    steps: int
    guidance: float
    size: int
    controls: tuple[Picture, ...] = ()
    width: int | None = None

    def grid(self, multiple: int) -> Grid:
        """Return the rows and columns of cells of `multiple` pixels that a picture has."""
        return self.size // multiple, (self.width or self.size) // multiple


def pipeline_arguments(seeds: Sequence[int], drawing: Drawing) -> dict[str, Any]:
    """Return what all of diffusers' pipelines are told alike: to draw latents, each from the noise of its own seed."""
    return {
        "num_inference_steps": drawing.steps,
        "height": drawing.size,
        "width": drawing.width or drawing.size,
        "generator": own_generators(seeds),
        "output_type": "latent",
    }


def own_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return a generator on the CPU for each picture.

    So its noise depends neither on its neighbours in the batch nor on the device.
    """
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
