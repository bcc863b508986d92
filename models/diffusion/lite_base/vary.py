"""Captions as training sees them: whole, shortened, or not at all."""

import torch

UNCONDITIONAL = 0.1
"""Share of the captions that are dropped, for classifier-free guidance. Ho and Salimans, 2022."""
SHORTENED = 0.2
"""Share of the captions that lose some of their phrases, so that short prompts are understood as well."""


def vary_caption(caption: str, generator: torch.Generator) -> str:
    """Return the caption whole, without some of its phrases, or empty."""
    fate = float(torch.rand((), generator=generator))
    if fate < UNCONDITIONAL:
        return ""
    if fate > UNCONDITIONAL + SHORTENED:
        return caption
    phrases = caption.split(", ")
    kept = torch.rand(len(phrases), generator=generator) < 0.7  # noqa: PLR2004  most of them
    return ", ".join(phrase for phrase, keep in zip(phrases, kept.tolist(), strict=True) if keep)
