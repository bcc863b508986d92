"""The probe's network: it looks at the picture, finds the head, and looks again at the figure and at the face."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from models.views import View

CLASSES: Mapping[str, tuple[str, ...]] = {
    "somebody": ("no", "yes"),
    "kind": ("town", "beach", "forest", "room"),
    "portorosso": ("no", "yes"),
    "who": ("other", "luca", "gia"),
    "pose": ("standing", "walking", "running", "jumping", "waving", "sitting"),
    "expression": ("neutral", "happy", "sad", "angry", "surprised"),
    "shot": ("full", "medium", "close"),
    "view": ("front", "three-quarter", "side"),
    "hair": ("brown", "black", "blond", "red", "white"),
    "style": ("curly", "long", "spiky", "cap"),
    "top": (
        *("red", "orange", "yellow", "green", "teal", "blue"),
        *("purple", "pink", "white", "black", "grey", "brown"),
    ),
    "striped": ("no", "yes"),
}
"""The attributes and what each may be."""

PICTURE = frozenset({"somebody", "kind", "portorosso", "shot"})
"""What is read off the whole picture; the rest is read off the figure and its face."""


@dataclass(frozen=True)
class Patch:
    """A square around a figure, in radii of its head: half its side, and how far it lies below the head's middle."""

    half: float
    below: float


_FIGURE, _FACE = Patch(half=3.9, below=2.3), Patch(half=1.25, below=0.15)
_PATCH_SIZE = 64
_WIDTHS = (16, 32, 64, 128, 128)
_FEATURES = 192
_SMALLEST, _LARGEST = 0.04, 1.0  # radius of a head, 1 being half the picture


class ProbeNetwork(nn.Module):
    """Pictures `(N, 3, 128, 128)` in -1..1 to the logits of every attribute.

    First it finds the head; then it reads the person off two squares that are placed and scaled by it. Read off the
    whole picture, expressions were not learnt at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.figure, self.face = _Trunk(), _Trunk(), _Trunk()
        self.head = nn.Linear(_FEATURES, 3)
        self.answers = nn.ModuleDict(
            {
                name: nn.Linear(_FEATURES if name in PICTURE else 2 * _FEATURES, len(classes))
                for name, classes in CLASSES.items()
            }
        )

    def forward(
        self, pictures: torch.Tensor, heads: torch.Tensor | None = None
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the logits `(N, classes)` of each attribute and the heads `(N, 3)` that were found.

        A head is x, y and radius; the picture's middle is 0, its half side 1. Where `heads` are given, as in training,
        the person is read off there.
        """
        whole = self.picture(functional.avg_pool2d(pictures, 2))
        found = self.head(whole).float()
        near = found.detach() if heads is None else heads
        patches = [(self.figure, _FIGURE), (self.face, _FACE)]
        person = torch.cat([trunk(cut(pictures, near, patch)) for trunk, patch in patches], dim=1)
        logits = {name: answer(whole if name in PICTURE else person) for name, answer in self.answers.items()}
        return logits, found


def cut(pictures: torch.Tensor, heads: torch.Tensor, patch: Patch) -> torch.Tensor:
    """Return the squares `(N, 3, 64, 64)` at the heads; beyond the picture its edge goes on."""
    radii = heads[:, 2].clamp(_SMALLEST, _LARGEST)
    middle = torch.stack([heads[:, 0], heads[:, 1] + patch.below * radii], dim=1)
    view = View(patch.half * radii, middle, torch.zeros(len(heads), dtype=torch.bool, device=heads.device))
    return view.pictures(pictures, _PATCH_SIZE)


class _Trunk(nn.Module):
    """A square `(N, 3, 64, 64)` to its features."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, _WIDTHS[0])]
        for inputs, outputs in pairwise(_WIDTHS):
            layers += [_convolution(inputs, outputs, stride=2), _convolution(outputs, outputs)]
        flat = _WIDTHS[-1] * (_PATCH_SIZE >> (len(_WIDTHS) - 1)) ** 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(flat, _FEATURES), nn.ReLU())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(values.contiguous(memory_format=torch.channels_last))
        return features


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
