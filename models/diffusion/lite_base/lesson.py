"""What the denoiser of the `lite` base model learns from: latents of the stills, each seen in several ways."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track
from torch.nn import functional

from models.seeds import seeded_generator
from models.stills import SIZE, unit_range

LATENT_PIXELS = 8
VIEWS = 6
"""Latents of each still. The first shows it as it is, every second one mirrored; otherwise they are cut out of it.

With the first two alone faces began to be learnt by heart: their error was a tenth lower than on held-out stills.
"""
FIGURE_WEIGHT, HEAD_WEIGHT, FACE_WEIGHT = 6.0, 12.0, 40.0
"""How much an error counts in the square around somebody, in his head, and from his brows to his mouth; elsewhere 1.

A face in a full shot is 3% of the picture: counted alike, places are learnt long before clothes and faces.
"""
_NEAREST = 1.12
_SEED = 7


@dataclass(frozen=True)
class Lesson:
    """Scaled latents `(N, views, C, h, w)`, how much each of their places counts `(N, views, 1, h, w)`, captions."""

    latents: torch.Tensor
    weights: torch.Tensor
    captions: Sequence[str]


@dataclass(frozen=True)
class View:
    """How each of N pictures is seen: a square of it, of half side 1/zoom around `middle` `(N, 2)`, perhaps mirrored.

    The picture's middle is 0, its half side 1.
    """

    zoom: torch.Tensor
    middle: torch.Tensor
    mirrored: bool

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the views `(N, 3, h, w)` of `pictures` `(N, 3, h, w)`."""
        frames = torch.zeros(len(pictures), 2, 3)
        frames[:, 0, 0] = (-1 if self.mirrored else 1) / self.zoom
        frames[:, 1, 1] = 1 / self.zoom
        frames[:, :, 2] = self.middle
        grid = functional.affine_grid(frames, list(pictures.shape), align_corners=False)
        return functional.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(
            -1, 1
        )

    def heads(self, heads: torch.Tensor) -> torch.Tensor:
        """Return x, y and radius `(N, 3)` in the views of `heads` in the pictures."""
        places = (heads[:, :2] - self.middle) * self.zoom[:, None]
        if self.mirrored:
            places = places * torch.tensor([-1.0, 1.0])
        return torch.cat([places, heads[:, 2:] * self.zoom[:, None]], dim=1)


def make_lesson(
    vae: Any,  # noqa: ANN401  AutoencoderKL declares no members
    pictures: torch.Tensor,
    heads: torch.Tensor,
    captions: Sequence[str],
    device: torch.device,
) -> Lesson:
    """Return what is to be learnt from pictures `(N, 3, 128, 128)` uint8 with heads `(N, 3)`, NaN where nobody is."""
    latents, weights = [], []
    for number in track(range(VIEWS), "encoding"):
        view = view_of(number, len(pictures))
        latents.append(_encoded(vae, pictures, view, device))
        weights.append(figure_weights(view.heads(heads)))
    return Lesson(torch.stack(latents, dim=1), torch.stack(weights, dim=1), captions)


def view_of(number: int, count: int) -> View:
    """Return the view `number` of `count` pictures; the first two show them whole."""
    generator = seeded_generator(_SEED, "views", number)
    nearer = (_NEAREST - 1) * torch.rand(count, generator=generator) * (number > 1)
    aside = 2 * torch.rand(count, 2, generator=generator) - 1
    zoom = 1 + nearer
    return View(zoom, aside * (1 - 1 / zoom)[:, None], mirrored=number % 2 == 1)


def figure_weights(heads: torch.Tensor) -> torch.Tensor:
    """Return how much each latent counts `(N, 1, 16, 16)` in pictures with these heads; 1 where nobody is."""
    side = SIZE // LATENT_PIXELS
    places = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(places, places, indexing="ij")
    radius = heads[:, 2, None, None]
    right, below = (x - heads[:, 0, None, None]) / radius, (y - heads[:, 1, None, None]) / radius
    away, latent = (right.square() + below.square()).sqrt(), 2 / side / radius
    weights = torch.ones(len(heads), side, side)
    weights[(right.abs() < 2.2) & (below > -1.4) & (below < 5.8)] = FIGURE_WEIGHT  # noqa: PLR2004  radii of the head
    weights[away < 1.1 + 0.5 * latent] = HEAD_WEIGHT
    weights[away < 0.7 + 0.3 * latent] = FACE_WEIGHT
    return weights[:, None]


def _encoded(vae: Any, pictures: torch.Tensor, view: View, device: torch.device) -> torch.Tensor:  # noqa: ANN401  as above
    parts = []
    with torch.no_grad():
        for start in range(0, len(pictures), 16):
            part = slice(start, start + 16)
            seen = View(view.zoom[part], view.middle[part], view.mirrored).pictures(unit_range(pictures[part]))
            parts.append(vae.encode(seen.to(device)).latent_dist.mode().cpu())
    scaled: torch.Tensor = torch.cat(parts) * vae.config.scaling_factor
    return scaled
