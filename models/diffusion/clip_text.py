"""Prompts as CLIP's text encoders read them."""

from collections.abc import Sequence
from typing import Any

import torch

from data_contracts.faults import InputFault


def clip_tokens(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> torch.Tensor:  # noqa: ANN401
    """Return the token ids (N, 77), filled up with the tokenizer's own padding.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads.
    """
    length, filler = tokenizer.model_max_length, tokenizer.pad_token_id
    tokens = whole_tokens(tokenizer, prompts)
    return torch.tensor([ids + [filler] * (length - len(ids)) for ids in tokens], device=device)


def whole_tokens(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:  # noqa: ANN401
    """Return the token ids of each prompt, both ends included.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads: its end would be lost.
    """
    tokens: list[list[int]] = [tokenizer(prompt, truncation=False).input_ids for prompt in prompts]
    length = tokenizer.model_max_length
    for prompt, ids in zip(prompts, tokens, strict=True):
        if len(ids) > length:
            message = f"prompt {prompt!r} has {len(ids)} tokens, ends included; {length} are read: shorten it"
            raise InputFault(message)
    return tokens
