"""Latents as a transformer reads them: one token for a patch of 2x2."""

import torch

PATCH = 2


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Return the tokens (N, h/2 * w/2, 4 C) of `latents` (N, C, h, w), row by row."""
    count, channels, height, width = latents.shape
    split = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    tokens = split.permute(0, 2, 4, 1, 3, 5)  # (N, h/2, w/2, C, 2, 2)
    return tokens.reshape(count, (height // PATCH) * (width // PATCH), channels * PATCH * PATCH)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the latents (N, C, height, width) of `tokens` (N, height/2 * width/2, 4 C)."""
    count, _, features = tokens.shape
    channels = features // (PATCH * PATCH)
    split = tokens.reshape(count, height // PATCH, width // PATCH, channels, PATCH, PATCH)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, height, width)
