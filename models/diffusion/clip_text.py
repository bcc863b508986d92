"""Prompts as CLIP's text encoders read them: one that is too long in several parts, each as if it were a prompt.

NovelAI's way, which AUTOMATIC1111 and ComfyUI have, too: the hidden states of all parts, ends included, one behind the
other. kohya's sd-scripts (`max_token_length`) keep the outermost ends alone.
"""

from collections.abc import Sequence
from typing import Any

import torch

from data_contracts.faults import InputFault
from data_contracts.lora_stages import CLIP_TOKENS, MOST_CLIP_TOKENS
from models.diffusion.textual_inversion import WordTable, word_table

_ENDS = 2
PART = CLIP_TOKENS - _ENDS
"""Tokens of a part of a prompt, without its ends."""
_PARTS = (MOST_CLIP_TOKENS - _ENDS) // PART


def clip_tokens(tokenizer: Any, prompts: Sequence[str], encoder: Any) -> torch.Tensor:  # noqa: ANN401
    """Return the token ids (N, parts, 77) for a text encoder, filled up with the tokenizer's own padding.

    As many parts as the longest prompt needs; shorter prompts have empty ones behind. Triggers that the encoder has
    learnt vectors for have the negative ids of those, where they are spoken.

    Raises:
        InputFault: a prompt has more tokens than are read.
    """
    room = tokenizer.model_max_length - _ENDS
    tokens = [ids[1:-1] for ids in whole_tokens(tokenizer, prompts, word_table(encoder))]
    count = max([1, *(parts(len(ids) + _ENDS, room) for ids in tokens)])
    read = [[_part(tokenizer, ids[start : start + room]) for start in range(0, count * room, room)] for ids in tokens]
    return torch.tensor(read, device=encoder.device)


def parts(tokens: int, room: int = PART) -> int:
    """Return in how many parts of `room` tokens a prompt of so many, ends included, is read; an empty one: 0."""
    return -(-(tokens - _ENDS) // room)


def _part(tokenizer: Any, tokens: Sequence[int]) -> list[int]:  # noqa: ANN401
    ids = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def whole_tokens(tokenizer: Any, prompts: Sequence[str], words: WordTable | None = None) -> list[list[int]]:  # noqa: ANN401
    """Return the token ids of each prompt, both ends included.

    Raises:
        InputFault: a prompt has more tokens than are read: its end would be lost.
    """
    tokens: list[list[int]] = [
        words.said(tokenizer, prompt) if words else tokenizer(prompt, truncation=False).input_ids for prompt in prompts
    ]
    length = _PARTS * (tokenizer.model_max_length - _ENDS) + _ENDS
    for prompt, ids in zip(prompts, tokens, strict=True):
        if len(ids) > length:
            message = f"prompt {prompt!r} has {len(ids)} tokens, ends included; {length} are read: shorten it"
            raise InputFault(message)
    return tokens


def joined(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return what was read of all parts of prompts (N * parts, …) by prompt, (N, parts, …); tokens: (N, parts, 77)."""
    return states.reshape(*tokens.shape[:2], *states.shape[1:])
