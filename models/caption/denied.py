"""Finding words in captions: whole words, whatever their case, in singular and plural."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from data_contracts.records import LoraType

_FILE = Path(__file__).with_name("denied.yaml")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_SIBILANTS = ("s", "x", "z", "ch", "sh")


@dataclass(frozen=True)
class WordList:
    """Words, or runs of words, that captions may not hold, and why."""

    why: str
    words: tuple[str, ...]

    def found_in(self, text: str) -> str:
        """Return the first of the words that the text holds; empty where it holds none."""
        return first_held(words_of(text), self.words)


@dataclass(frozen=True)
class Denied:
    """The lists of denied.yaml."""

    types: dict[LoraType, WordList]
    negations: WordList
    lighting: WordList
    common: frozenset[str]


@lru_cache(maxsize=1)
def denied() -> Denied:
    """Return the lists that come with reel2lora."""
    tree = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    types = {kind: WordList(entry["why"], tuple(entry["words"])) for kind, entry in tree["types"].items()}
    negations, lighting = (WordList(tree[key]["why"], tuple(tree[key]["words"])) for key in ("negations", "lighting"))
    return Denied(types, negations, lighting, frozenset(tree["common"]))


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case; hyphens part words, apostrophes do not."""
    return tuple(word.replace("\u2019", "'") for word in _WORD.findall(text.casefold()))


def first_held(spoken: Sequence[str], entries: Iterable[str]) -> str:
    """Return the first of the entries that `spoken`, words of a text, hold; empty where they hold none."""
    forms = {form for word in spoken for form in _singulars(word)}
    return next((entry for entry in entries if forms.issuperset(words_of(entry)) and holds(spoken, entry)), "")


def holds(spoken: Sequence[str], entry: str) -> bool:
    """Return whether `spoken`, words of a text, hold the words of `entry` one after the other, or their plurals."""
    wanted = words_of(entry)
    last = len(spoken) - len(wanted)
    return bool(wanted) and any(
        all(_is_form(spoken[start + place], word) for place, word in enumerate(wanted)) for start in range(last + 1)
    )


def without(spoken: Sequence[str], entry: str) -> tuple[str, ...]:
    """Return words of a text less the words of `entry`, wherever these stand one after the other."""
    wanted, kept, place = words_of(entry), [], 0
    while place < len(spoken):
        if wanted and tuple(spoken[place : place + len(wanted)]) == wanted:
            place += len(wanted)
        else:
            kept.append(spoken[place])
            place += 1
    return tuple(kept)


def content_words(texts: Iterable[str], exempt: Iterable[str]) -> list[set[str]]:
    """Return the words of each text that say something: neither common ones nor those of the `exempt` texts."""
    known = denied().common.union(*(words_of(text) for text in exempt))
    return [set(words_of(text)) - known for text in texts]


def _is_form(word: str, singular: str) -> bool:
    """Return whether a word is `singular`, its regular plural or its possessive."""
    return singular in _singulars(word)


def _singulars(word: str) -> tuple[str, ...]:
    """Return the word itself and what it may be the regular plural or the possessive of."""
    found = [word]
    if word.endswith("'s"):
        return word, word[:-2]
    if word.endswith("s"):
        found.append(word[:-1])
    if word.endswith("es") and word[:-2].endswith(_SIBILANTS):
        found.append(word[:-2])
    if word.endswith("ies"):
        found.append(f"{word[:-3]}y")
    return tuple(found)
