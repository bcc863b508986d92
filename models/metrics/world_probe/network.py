"""The probe's network: one small convolutional trunk, one linear head an attribute."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

SIZE = 128
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

_WIDTHS = (24, 48, 96, 160, 192)


class ProbeNetwork(nn.Module):
    """Pictures `(N, 3, 128, 128)` in -1..1 to the logits of every attribute."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *_WIDTHS[:-1])
        self.blocks = nn.ModuleList(_Block(left, right) for left, right in zip(inputs, _WIDTHS, strict=True))
        features = 4 * 4 * _WIDTHS[-1]
        self.shared = nn.Sequential(nn.Dropout(0.2), nn.Linear(features, 256), nn.ReLU(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(classes)) for name, classes in CLASSES.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits `(N, classes)` of each attribute."""
        values = pictures
        for block in self.blocks:
            values = block(values)
        shared = self.shared(values.flatten(1))
        return {name: head(shared) for name, head in self.heads.items()}


class _Block(nn.Module):
    """Two convolutions, then half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, stride=2, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = functional.relu(self.first_norm(self.first(values)))
        return functional.relu(self.second_norm(self.second(values)))
