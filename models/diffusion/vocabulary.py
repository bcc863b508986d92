"""CLIP's byte-pair vocabulary, whole or cut down to what a small world talks about."""

import gzip
from collections.abc import Iterable
from itertools import pairwise

from transformers import CLIPTextConfig, CLIPTokenizer

from models.weights import PackagedFile

VOCABULARY = PackagedFile("open-clip-torch", "open_clip/bpe_simple_vocab_16e6.txt.gz", "MIT", 1.4)
_MERGES = slice(1, 48895)  # the rest of the file was never part of CLIP's vocabulary
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"

Pair = tuple[str, str]


def clip_tokenizer() -> CLIPTokenizer:
    """Return CLIP's tokenizer of 49,408 entries, 77 tokens a prompt. Radford et al., 2021."""
    return _tokenizer(_clip_merges())


def cut_tokenizer(words: Iterable[str], first: int) -> CLIPTokenizer:
    """Return CLIP's tokenizer with its `first` merges and those that make each of `words` the tokens CLIP makes of it.

    Every text can still be written: what is not merged stays in smaller pieces, at worst in bytes.
    """
    merges = _clip_merges()
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    kept = set(range(first))
    for word in words:
        kept.update(_ranks_used(word, ranks))
    return _tokenizer([merges[rank] for rank in sorted(kept)])


def text_config(tokenizer: CLIPTokenizer, width: int, layers: int, heads: int) -> CLIPTextConfig:
    """Return the configuration of a text encoder that reads what `tokenizer` writes, into states of `width` numbers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _clip_merges() -> list[Pair]:
    lines = gzip.decompress(VOCABULARY.path().read_bytes()).decode("utf-8").split("\n")
    return [(left, right) for left, right in (line.split() for line in lines[_MERGES])]


def _ranks_used(word: str, ranks: dict[Pair, int]) -> list[int]:
    """Return the merges, in their order, that byte-pair encoding does on an ASCII `word`. Sennrich et al., 2016."""
    pieces = [*word[:-1], word[-1] + _WORD_END]
    used: list[int] = []
    while True:
        pairs = [(ranks[pair], place) for place, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not pairs:
            return used
        rank, place = min(pairs)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        used.append(rank)


def _tokenizer(merges: list[Pair]) -> CLIPTokenizer:
    letters = _byte_letters()
    entries = [*letters, *(letter + _WORD_END for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    return CLIPTokenizer(
        vocab={entry: number for number, entry in enumerate(entries)},
        merges=merges,  # type: ignore[arg-type]  # pairs, as the class itself saves them
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        model_max_length=77,
    )


def _byte_letters() -> list[str]:
    """Return the printable stand-ins of the 256 bytes, in the order of GPT-2's byte-level vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + offset) for offset in range(256 - len(printable))]
