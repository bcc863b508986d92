"""What the denoiser of the `lite` base model learns from: latents of the stills, each framed in several ways."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from rich.progress import track

from models.diffusion.unet_model import ENCODE_BATCH, encode
from models.seeds import seeded_generator
from models.stills import SIZE, Still, Stills, unit_range
from models.views import View

LATENT_PIXELS = 8
VIEWS = 4
"""How often each still is framed, a little differently each time; every second view is mirrored."""
FIGURE_WEIGHT, HEAD_WEIGHT, FACE_WEIGHT = 6.0, 10.0, 24.0
"""How much an error counts in the square around somebody, in his head, and from his brows to his mouth; elsewhere 1.

A face in a full shot is 3% of the picture: counted alike, places are learnt long before clothes and faces.
"""
FRAMES = {"full": (-0.36, 0.167), "medium": (-0.29, 0.212), "close": (-0.16, 0.357)}
"""How low in the picture a head is to be seen and how large, by shot, as samples/world/render_groups.py frames it.

Where a caption says where somebody is, a network of few parameters and hours need not learn where, only what.
"""
LIFTED = {"jumping": 0.77}
"""How far, in radii of the head, somebody is off the ground."""
_ROOM = 0.06
"""How much nearer than its frame a view may be, and then how far aside."""
_NEAREST = 0.55
"""Half the side of a view at least, as a smaller one would be too blurred."""
_SEED = 7
Item = TypeVar("Item")


@dataclass(frozen=True)
class Group:
    """Rows that differ in a pose or an expression alone, in the picture as in the caption."""

    rows: Sequence[int]
    by_pose: bool


@dataclass(frozen=True)
class Lesson:
    """Scaled latents `(N, views, C, h, w)`, how much each place counts `(N, views, 1, h, w)`, captions [N].

    `singles` are the rows of no group.
    """

    latents: torch.Tensor
    weights: torch.Tensor
    captions: Sequence[str]
    groups: Sequence[Group] = ()

    @property
    def singles(self) -> Sequence[int]:
        """The rows of no group."""
        grouped = {row for group in self.groups for row in group.rows}
        return [row for row in range(len(self.captions)) if row not in grouped]

    def shown(self, rows: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        """Return the latents `(N, C, h, w)` of these rows, each in one of its views by chance."""
        return self.latents[rows, torch.randint(self.latents.shape[1], (len(rows),), generator=generator)]


def make_lesson(
    vae: Any,  # noqa: ANN401  AutoencoderKL declares no members
    stills: Stills,
    heads: torch.Tensor,
) -> Lesson:
    """Return what is to be learnt from stills with these heads `(N, 3)`, NaN where nobody is."""
    latents, weights = [], []
    for number in track(range(VIEWS), "encoding"):
        view = view_of(number, stills.stills, heads)
        latents.append(_encoded(vae, stills.pictures, view))
        weights.append(figure_weights(view.heads(heads)))
    return Lesson(torch.stack(latents, dim=1), torch.stack(weights, dim=1), stills.captions, groups_of(stills.stills))


def some_of(items: Sequence[Item], count: int, generator: torch.Generator) -> list[Item]:
    """Return `count` of the items by chance, each as likely as any other every time; none where there are none."""
    if not items:
        return []
    return [items[place] for place in torch.randint(len(items), (count,), generator=generator).tolist()]


def groups_of(stills: Sequence[Still]) -> list[Group]:
    """Return the rows of each group of stills."""
    rows: dict[int, list[int]] = {}
    for row, still in enumerate(stills):
        if still.group is not None:
            rows.setdefault(still.group, []).append(row)
    return [Group(members, len({stills[row].pose for row in members}) > 1) for members in rows.values()]


def view_of(number: int, stills: Sequence[Still], heads: torch.Tensor) -> View:
    """Return the view `number` of these stills with these heads `(N, 3)`: framed alike, those of a group the same."""
    generator = seeded_generator(_SEED, "views", number)
    draws = torch.rand(3, len(stills), generator=generator)
    first: dict[int, int] = {}
    alike = [first.setdefault(still.group, row) if still.group is not None else row for row, still in enumerate(stills)]
    draws = draws[:, alike]
    frames = torch.stack([_frame_of(still, head) for still, head in zip(stills, heads, strict=True)])
    side = frames[:, 2] * (1 - _ROOM * draws[0])
    middle = frames[:, :2] + _ROOM * (2 * draws[1:].T - 1)
    room = 1 - side[:, None]
    return View(side, middle.clamp(-room, room), torch.full((len(stills),), number % 2 == 1))


def _frame_of(still: Still, head: torch.Tensor) -> torch.Tensor:
    """Return the middle x, y and half the side of the square that shows this head where its shot wants it."""
    if still.group is not None or still.shot is None or still.pose is None:
        return torch.tensor([0.0, 0.0, 1.0])
    height, radius = FRAMES[still.shot]
    side = float((head[2] / radius).clamp(_NEAREST, 1))
    wanted = torch.tensor([0.0, height - LIFTED.get(still.pose, 0) * radius])
    return torch.cat([head[:2] - side * wanted, torch.tensor([side])])


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
