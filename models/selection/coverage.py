"""What a data set shows and what it lacks, in words, with what to do about it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data_contracts.records import UNSAID, Facets, LoraType

FILE = "coverage.json"
LEAST: Mapping[LoraType, int] = {"character": 150, "background": 100, "pose": 100, "expression": 80}
"""Pictures that practitioners' guides ask for at least, on SD 1.5 and SDXL."""
SHARES: Mapping[LoraType, Mapping[str, Mapping[str, float]]] = {
    "character": {"size": {"close-up": 0.35, "medium": 0.3, "full": 0.35}},
    "background": {},
    "pose": {"size": {"full": 0.8, "medium": 0.2, "close-up": 0.0}},
    "expression": {},
}
"""Shares of a data set by shot size: head crops cannot teach an outfit, nor full bodies a face."""
VIEWS = ("front", "three-quarter", "profile", "back")
TOO_MUCH = 0.6
"""Share of close-ups above which a character is learnt without its outfit."""
ONE_SIDED = 0.9
"""Share of one value above which it becomes part of what the trigger means."""


@dataclass(frozen=True)
class Finding:
    """What a data set lacks or has too much of, and what to do."""

    rule: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Coverage:
    """Pictures by facet and value, and what follows from them."""

    counts: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Shown:
    """One picture of the set: what it shows, and of which film."""

    facets: Facets
    film: str
    shot: str


def coverage(kind: LoraType, shown: Sequence[Shown]) -> Coverage:
    """Count what the pictures show, and say what is missing for a LoRA of this type."""
    counts = {name: dict(Counter(value(each) for each in shown).most_common()) for name, value in FACETS.items()}
    return Coverage(counts, tuple(_findings(kind, len(shown), counts)))


FACETS: Mapping[str, Callable[[Shown], str]] = {
    "size": lambda each: each.facets.size,
    "view": lambda each: each.facets.view,
    "action": lambda each: each.facets.action,
    "expression": lambda each: each.facets.expression,
    "place": lambda each: each.facets.place,
    "who": lambda each: each.facets.who,
    "film": lambda each: each.film,
    "shot": lambda each: each.shot,
}


def _findings(kind: LoraType, total: int, counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    if total < LEAST[kind]:
        yield Finding(
            "few_pictures",
            f"{total} pictures; guides ask for at least {LEAST[kind]} ({kind})",
            "give more film, sample it more densely (extract_frames.every_s), or train fewer steps",
        )
    if kind == "character":
        yield from _of_a_body(total, counts)
    for facet in ONE_VALUE_IS_LEARNT[kind]:
        known = {value: count for value, count in counts[facet].items() if value not in UNSAID}
        value, most = max(known.items(), key=lambda item: item[1], default=("", 0))
        if total and most > ONE_SIDED * total:
            yield Finding(
                f"one_{facet}",
                f"{most / total:.0%} show the same {facet}: {value}",
                f"the trigger will mean it too: add pictures of another {facet}, or name it in every prompt",
            )


ONE_VALUE_IS_LEARNT: Mapping[LoraType, tuple[str, ...]] = {
    "character": ("place", "expression", "action"),
    "background": ("shot",),
    "pose": ("who", "place", "view"),
    "expression": ("who", "view"),
}
"""Facets that a LoRA of a type must not take for its subject."""


def _of_a_body(total: int, counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    close = counts["size"].get("close-up", 0)
    if close > TOO_MUCH * total:
        yield Finding(
            "mostly_close_ups",
            f"{close / total:.0%} close-ups: head crops cannot teach the outfit",
            "add full shots of the character, or lower dataset.target so that fewer close-ups are taken",
        )
    for size in ("close-up", "full"):
        if not counts["size"].get(size, 0):
            lost = "the face" if size == "close-up" else "the outfit below the waist"
            remedy = "give film that shows it, or expect the base model to invent it"
            yield Finding(f"no_{size.replace('-', '_')}", f"no {size} picture: {lost} will not be learnt", remedy)
    for view in VIEWS:
        if not counts["view"].get(view, 0):
            remedy = "give film that shows it; prompts that ask for it get the base model's guess"
            yield Finding(f"no_{view.replace('-', '_')}_view", f"no {view} view", remedy)


def write_coverage(folder: Path, found: Coverage) -> None:
    """Write `coverage.json`."""
    (folder / FILE).write_text(json.dumps(asdict(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_coverage(path: Path) -> Coverage:
    """Read `coverage.json`."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Coverage(found["counts"], tuple(Finding(**finding) for finding in found["findings"]))
