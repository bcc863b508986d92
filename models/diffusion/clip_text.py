"""Prompts as CLIP's text encoders read them."""

from collections.abc import Sequence
from typing import Any

import torch

from data_contracts.faults import InputFault
from models.diffusion.textual_inversion import WordTable, word_table


def clip_tokens(tokenizer: Any, prompts: Sequence[str], encoder: Any) -> torch.Tensor:  # noqa: ANN401
    """Return the token ids (N, 77) for a text encoder, filled up with the tokenizer's own padding.

    Triggers that the encoder has learnt vectors for have the negative ids of those, where they are spoken.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads.
    """
    length, filler = tokenizer.model_max_length, tokenizer.pad_token_id
    tokens = whole_tokens(tokenizer, prompts, word_table(encoder))
    return torch.tensor([ids + [filler] * (length - len(ids)) for ids in tokens], device=encoder.device)


def whole_tokens(tokenizer: Any, prompts: Sequence[str], words: WordTable | None = None) -> list[list[int]]:  # noqa: ANN401
    """Return the token ids of each prompt, both ends included.

    Raises:
        InputFault: a prompt has more tokens than the text encoder reads: its end would be lost.
    """
    tokens: list[list[int]] = [
        words.said(tokenizer, prompt) if words else tokenizer(prompt, truncation=False).input_ids for prompt in prompts
    ]
    length = tokenizer.model_max_length
    for prompt, ids in zip(prompts, tokens, strict=True):
        if len(ids) > length:
            message = f"prompt {prompt!r} has {len(ids)} tokens, ends included; {length} are read: shorten it"
            raise InputFault(message)
    return tokens
