"""Counting a caption in the base model's own tokens, and cutting it where it may be cut."""

from functools import lru_cache
from pathlib import Path
from typing import Protocol, cast

from data_contracts.faults import InputFault


class Tokenizer(Protocol):
    """The part of a base model's tokenizer that counting needs."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        """Return `input_ids`, both ends included."""
        ...


@lru_cache(maxsize=2)
def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer in a folder of a base model: CLIP's, FLUX's T5, Qwen's.

    Raises:
        InputFault: there is none; transformers would make one without words.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        message = f"{folder.name!r} holds no tokenizer.json or vocab.json: give the tokenizer/ of a diffusers folder"
        raise InputFault(message)
    from transformers import AutoTokenizer  # noqa: PLC0415

    return cast("Tokenizer", AutoTokenizer.from_pretrained(folder, local_files_only=True))


def count_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Return the number of tokens of a text, its ends included."""
    return len(tokenizer(text)["input_ids"])


def cut_to_fit(tokenizer: Tokenizer, clauses: list[str], max_tokens: int) -> tuple[str, int, tuple[str, ...]]:
    """Join clauses to a caption of at most `max_tokens`, dropping whole clauses from the end.

    Returns:
        The caption, its tokens, and what was dropped, in words.

    Raises:
        ValueError: not even the first clause, the trigger, fits.
    """
    kept = list(clauses)
    while (tokens := count_tokens(tokenizer, ", ".join(kept))) > max_tokens and len(kept) > 1:
        kept.pop()
    if tokens > max_tokens:
        message = f"the trigger {clauses[0]!r} alone has {tokens} tokens, but only {max_tokens} fit: shorten it"
        raise ValueError(message)
    return ", ".join(kept), tokens, tuple(f"dropped to fit: {clause}" for clause in clauses[len(kept) :])
