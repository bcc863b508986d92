"""Prompts as CLIP's text encoders read them."""

from collections.abc import Sequence
from typing import Any

import torch

from data_contracts.faults import InputFault


def clip_tokens(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> torch.Tensor:  # noqa: ANN401
    """Return the token ids (N, 77), filled up with the tokenizer's own padding.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads: its end would be lost.
    """
    length = tokenizer.model_max_length
    tokens = [tokenizer(prompt, truncation=False).input_ids for prompt in prompts]
    for prompt, ids in zip(prompts, tokens, strict=True):
        if len(ids) > length:
            message = f"prompt {prompt!r} has {len(ids)} tokens, ends included; {length} are read: shorten it"
            raise InputFault(message)
    return torch.tensor([ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids in tokens], device=device)
