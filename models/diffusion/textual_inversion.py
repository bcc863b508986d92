"""Textual inversion: a trigger whose words are read as vectors that were learnt for it, not as the words' own.

Gal et al., An Image is Worth One Word, 2022. Learnt together with a LoRA it is what practitioners call pivotal tuning,
after Roich et al., Pivotal Tuning for Latent-based Editing of Real Images, 2021. The vectors, fewer or more, take the
place of the words' tokens.

Learnt vectors have negative token ids, which no tokenizer gives: so CLIP, which pools at the largest id of a prompt or
at its end, pools where it would without them.
"""

# mypy: disable-error-code="no-untyped-call"

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from data_contracts.faults import InputFault
from data_contracts.whole_file import whole_file
from models.diffusion.families import DiffusionModel
from models.diffusion.lora_file import KeyFormat, serialised

TRIGGER = "reel2lora.trigger"
"""The metadata of an embedding's file that says which words call it."""
Vectors = Mapping[str, torch.Tensor]
"""What stands for a trigger, (vectors, dim), by the text encoder's name in LoraWeights."""


@dataclass(frozen=True)
class Word:
    """A trigger, and the ids of its vectors in one text encoder."""

    trigger: str
    ids: tuple[int, ...]


class WordTable(torch.nn.Module):
    """A text encoder's token embedding, with vectors for the triggers of LoRAs besides.

    The vectors are no parameters of the module, so that what changes or lists a network's parameters leaves them alone.
    """

    def __init__(self, base: Any) -> None:  # noqa: ANN401  torch.nn.Embedding
        super().__init__()
        self.base = base
        self.words: dict[str, Word] = {}
        self.vectors: list[torch.Tensor] = []
        self.spoken: frozenset[str] = frozenset()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors (N, tokens, dim) of token ids (N, tokens); gradients flow into those that were added."""
        known: torch.Tensor = self.base(ids.clamp(min=0))
        added = ids < 0
        if not bool(added.any()):
            return known
        table = torch.cat(self.vectors).to(known)
        return torch.where(added[..., None], table[(-1 - ids).clamp(min=0)], known)

    def add(self, name: str, trigger: str, vectors: torch.Tensor) -> None:
        """Let `trigger` be read as `vectors` (n, dim) where `name` is spoken; the tensor itself is kept."""
        first = -1 - sum(map(len, self.vectors))
        self.words[name] = Word(trigger, tuple(range(first, first - len(vectors), -1)))
        self.vectors.append(vectors)

    def said(self, tokenizer: Any, prompt: str) -> list[int]:  # noqa: ANN401
        """Return a prompt's token ids, ends included, with those of their vectors in the place of spoken triggers."""
        spoken = {as_clip_reads(word.trigger): word.ids for name, word in self.words.items() if name in self.spoken}
        if not spoken:
            return list(tokenizer(prompt, truncation=False).input_ids)
        read: list[int] = []
        end = 0
        for found in whole_words(spoken).finditer(prompt):
            read += tokenizer(prompt[end : found.start()], add_special_tokens=False).input_ids
            read += spoken[as_clip_reads(found[0])]
            end = found.end()
        read += tokenizer(prompt[end:], add_special_tokens=False).input_ids
        return [tokenizer.bos_token_id, *read, tokenizer.eos_token_id]


def whole_words(phrases: Collection[str]) -> re.Pattern[str]:
    """Return the pattern of these phrases as whole words, in any case and spacing, the longest first."""
    each = (r"\s+".join(map(re.escape, phrase.split())) for phrase in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{'|'.join(each)})(?!\w)", re.IGNORECASE)


def as_clip_reads(phrase: str) -> str:
    """Return a phrase as CLIP reads it: in lower case, its words one space apart."""
    return " ".join(phrase.lower().split())


def word_table(encoder: Any) -> WordTable | None:  # noqa: ANN401  a text encoder of transformers
    """Return the table that a text encoder was given, where it was given one."""
    found = encoder.get_input_embeddings()
    return found if isinstance(found, WordTable) else None


def word_tables(*networks: Any) -> list[WordTable]:  # noqa: ANN401
    """Return the tables that were put into these networks."""
    return [module for network in networks for module in network.modules() if isinstance(module, WordTable)]


@contextmanager
def words_off(*networks: Any) -> Iterator[None]:  # noqa: ANN401
    """Let text encoders among `networks` read all words as their own; afterwards as before."""
    tables = word_tables(*networks)
    before = [table.spoken for table in tables]
    for table in tables:
        table.spoken = frozenset()
    try:
        yield
    finally:
        for table, spoken in zip(tables, before, strict=True):
            table.spoken = spoken


def speak(names: Collection[str], *networks: Any) -> set[str]:  # noqa: ANN401
    """Have the triggers of these LoRAs, and of no others, read as what was learnt for them; return who has such."""
    tables = word_tables(*networks)
    for table in tables:
        table.spoken = frozenset(names)
    return {name for table in tables for name in table.words}


def add_words(model: DiffusionModel, name: str, trigger: str, vectors: Vectors) -> None:
    """Give the text encoders vectors (n, dim) for a trigger, not spoken yet; the tensors themselves are kept.

    Raises:
        InputFault: the vectors are as wide as another model's.
    """
    for key, encoder in model.text_encoders.items():
        table = word_table(encoder) or WordTable(encoder.get_input_embeddings())
        encoder.set_input_embeddings(table)
        width = table.base.weight.shape[1]
        if vectors[key].shape[1] != width:
            message = (
                f"the embedding of {trigger!r} has vectors of {vectors[key].shape[1]} numbers, the base model's "
                f"{key} of {width}: it is for another base model"
            )
            raise InputFault(message)
        table.add(name, trigger, vectors[key])


def add_embedding(model: DiffusionModel, path: Path, name: str) -> None:
    """Add an embedding's file to the text encoders as `name`, not spoken yet.

    Raises:
        InputFault: it is no embedding for the model's family, or for a base model of other sizes.
    """
    trigger, vectors = load_embedding(path, model.keys)
    add_words(model, name, trigger, vectors)


def initial_vectors(tokenizer: Any, encoder: Any, words: str, count: int) -> torch.Tensor:  # noqa: ANN401
    """Return `count` vectors (count, dim), float32: those of the words' tokens, each as often as the others, in order.

    As AUTOMATIC1111 begins; of more tokens than vectors some are left out.
    """
    tokens = tokenizer(words, add_special_tokens=False).input_ids
    table = encoder.get_input_embeddings()
    known = (table.base if isinstance(table, WordTable) else table).weight
    chosen = [tokens[place * len(tokens) // count] for place in range(count)]
    vectors: torch.Tensor = known[chosen].detach().float().clone()
    return vectors


def save_embedding(path: Path, vectors: Vectors, metadata: Mapping[str, str], keys: KeyFormat) -> None:
    """Write an embedding as AUTOMATIC1111, ComfyUI and diffusers read it; the same vectors give the same bytes."""
    tensors = {key: vectors[name].detach().float().cpu().contiguous() for name, key in keys.embedding_keys.items()}
    with whole_file(path) as beside:
        beside.write_bytes(serialised(tensors, metadata))


def load_embedding(path: Path, keys: KeyFormat) -> tuple[str, dict[str, torch.Tensor]]:
    """Read an embedding of the family that `keys` are of: the words that call it, and their vectors.

    Raises:
        InputFault: the file is missing, of another family, or does not say which words call it.
    """
    if not path.is_file():
        message = f"embedding file {path} does not exist"
        raise InputFault(message)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  the handle is no mapping
        trigger = (file.metadata() or {}).get(TRIGGER, "")
    wanted = set(keys.embedding_keys.values())
    if set(tensors) != wanted or not wanted:
        message = f"{path} holds {sorted(tensors)}, an embedding for {keys.family} {sorted(wanted)}: it is for another"
        raise InputFault(message)
    if not trigger:
        message = f"{path} does not say in its metadata, as {TRIGGER}, which words call it: only our own files are read"
        raise InputFault(message)
    return trigger, {name: tensors[key] for name, key in keys.embedding_keys.items()}
