"""What the denoiser of the `lite` base model learns from: latents of the stills, each seen in several ways."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import track

from models.diffusion.unet_model import ENCODE_BATCH, encode
from models.seeds import seeded_generator
from models.stills import SIZE, Still, Stills, unit_range
from models.views import View

LATENT_PIXELS = 8
WHOLE, ASIDE, NEAR = range(3)
VIEWS = (WHOLE, WHOLE, ASIDE, ASIDE, NEAR, NEAR)
"""How each still is seen: as it is, a little nearer and aside, or near to the face; every second one mirrored.

With whole pictures alone faces began to be learnt by heart: their error was a tenth lower than on held-out stills.
"""
FIGURE_WEIGHT, HEAD_WEIGHT, FACE_WEIGHT = 6.0, 12.0, 40.0
"""How much an error counts in the square around somebody, in his head, and from his brows to his mouth; elsewhere 1.

A face in a full shot is 3% of the picture: counted alike, places are learnt long before clothes and faces.
"""
_SMALLEST = 1 / 1.12
"""Half the side, at least, of a view a little nearer."""
_NEAR_HEADS, _NEAREST = (0.36, 0.52), 0.55
"""Radius of the head in a near view, and half the view's side at least, as a smaller one would be too blurred.

In the stills' close-ups a mouth is hardly larger than one latent: nearer ones show what an expression is.
"""
_SEED = 7


@dataclass(frozen=True)
class Lesson:
    """Scaled latents `(N, views, C, h, w)`, how much each place counts `(N, views, 1, h, w)`, captions [N][views]."""

    latents: torch.Tensor
    weights: torch.Tensor
    captions: Sequence[Sequence[str]]


def make_lesson(
    vae: Any,  # noqa: ANN401  AutoencoderKL declares no members
    stills: Stills,
    heads: torch.Tensor,
) -> Lesson:
    """Return what is to be learnt from stills with these heads `(N, 3)`, NaN where nobody is."""
    latents, weights, captions = [], [], []
    for number in track(range(len(VIEWS)), "encoding"):
        view = view_of(number, stills.stills, heads)
        latents.append(_encoded(vae, stills.pictures, view))
        weights.append(figure_weights(view.heads(heads)))
        captions.append([caption_of(still, VIEWS[number]) for still in stills.stills])
    return Lesson(torch.stack(latents, dim=1), torch.stack(weights, dim=1), list(zip(*captions, strict=True)))


def view_of(number: int, stills: Sequence[Still], heads: torch.Tensor) -> View:
    """Return the view `number` of these stills with these heads `(N, 3)`."""
    count = len(stills)
    generator = seeded_generator(_SEED, "views", number)
    draws = torch.rand(3, count, generator=generator)
    near = torch.tensor([VIEWS[number] == NEAR and may_come_near(still) for still in stills])
    if VIEWS[number] == WHOLE:
        side = torch.ones(count)
    else:
        smallest, largest = _NEAR_HEADS
        wanted = heads[:, 2] / (smallest + (largest - smallest) * draws[0])
        side = torch.where(near, wanted.clamp(_NEAREST, 1), 1 - (1 - _SMALLEST) * draws[0])
    room = 1 - side[:, None]
    anywhere = (2 * draws[1:].T - 1) * room
    at_the_head = (heads[:, :2] + 0.15 * (2 * draws[1:].T - 1)).clamp(-room, room)
    middle = torch.where(near[:, None], at_the_head, anywhere)
    return View(side, middle, torch.full((count,), number % 2 == 1))


def may_come_near(still: Still) -> bool:
    """Return whether `still` shows a face large enough to be enlarged."""
    return still.shot in {"medium", "close"}


def caption_of(still: Still, view: int) -> str:
    """Return the caption of `still`, seen in this way: near to a face it is a close-up."""
    if view == NEAR and may_come_near(still):
        return still.caption.replace("medium shot", "close-up")
    return still.caption


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


def _encoded(vae: Any, pictures: torch.Tensor, view: View) -> torch.Tensor:  # noqa: ANN401  as above
    parts = [slice(start, start + ENCODE_BATCH) for start in range(0, len(pictures), ENCODE_BATCH)]
    seen = (view.of(part).pictures(unit_range(pictures[part]), mode="bicubic").clamp(-1, 1) for part in parts)
    return encode(vae, seen) * float(vae.config.scaling_factor)
