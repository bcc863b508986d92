"""In which forms a caption is shown when parts of it are left out."""

from itertools import compress

import torch

SEPARATOR = ","
"""What is between the parts of a caption."""
FORMS = 4
"""In how many forms each caption is shown where parts of it are dropped; few, as all are read before the first step."""


def caption_forms(caption: str, dropout: float, generator: torch.Generator, *, keep_tokens: int = 1) -> list[str]:
    """Return the forms in which a caption is shown: FORMS of them, each without some of its parts.

    dropout: the share of parts, between commas, that are left out; at 0 the caption alone is returned.
    keep_tokens: how many parts, from the first on, are never left out.
    """
    if not dropout:
        return [caption]
    parts = [part.strip() for part in caption.split(SEPARATOR)]
    first, others = parts[:keep_tokens], parts[keep_tokens:]
    kept = torch.rand((FORMS, len(others)), generator=generator) >= dropout
    return [f"{SEPARATOR} ".join([*first, *compress(others, row)]) for row in kept.tolist()]
