"""The suite's prompts for one LoRA."""

import re
from functools import cache
from pathlib import Path

import yaml

from data_contracts.lora_stages import CaptionConfig, SuitePrompt
from data_contracts.records import LoraType

PROMPT = "{trigger}, {style}, {words}"  # as captions are put together, so that the LoRA is asked as it was taught
PLAIN = "{style}, {subject}, {words}"
NAMELESS = re.compile(r"(character|place|pose)-\d+")  # what the stages call clusters that nobody has named
UNKNOWN: dict[LoraType, str] = {
    "character": "a character",
    "background": "a place",
    "pose": "a pose",
    "expression": "an expression",
}
Categories = dict[str, tuple[str, ...]]


@cache
def categories_of(kind: LoraType) -> Categories:
    """Return the words of a LoRA type's prompts by category, the most telling category first."""
    tree = yaml.safe_load(Path(__file__).with_name(f"{kind}.yaml").read_text(encoding="utf-8"))
    return {category: tuple(words) for category, words in tree.items()}


def suite_prompts(caption: CaptionConfig, categories: int) -> tuple[SuitePrompt, ...]:
    """Return the prompts of the first `categories` categories for the LoRA that learns from captions made like this."""
    chosen = list(categories_of(caption.type).items())[:categories]
    return tuple(
        SuitePrompt(category=category, text=_filled(PROMPT, caption, words=words))
        for category, entries in chosen
        for words in entries
    )


def plain_prompts(caption: CaptionConfig, subject: str) -> dict[str, str]:
    """Return, by prompt, what a text scorer is asked: the same with `subject`, such as "a boy", for the trigger."""
    return {
        _filled(PROMPT, caption, words=words): _filled(PLAIN, caption, words=words, subject=subject)
        for entries in categories_of(caption.type).values()
        for words in entries
    }


def class_words(caption: CaptionConfig) -> str:
    """Return what the trigger stands for, such as "a boy": the project's description up to what is special."""
    described = caption.described_as.get(caption.subject, "")
    words = re.split(r",| with | wearing | in | who ", described)[0].strip()
    is_named = caption.type in {"character", "background"} and not NAMELESS.fullmatch(caption.subject)
    known = is_named and words not in {"", caption.subject}
    return words if known else plain_words(caption.type, caption.subject)


def plain_words(kind: LoraType, subject: str) -> str:
    """Return what a subject is, as far as its LoRA's type says it: "a character", or a pose's own name."""
    if NAMELESS.fullmatch(subject) or kind in {"character", "background"}:
        return UNKNOWN[kind]
    return f"{subject} expression" if kind == "expression" else subject


def _filled(form: str, caption: CaptionConfig, **slots: str) -> str:
    """Fill the form; a clause whose slot is empty goes."""
    clauses = (clause.format(trigger=caption.trigger, style=caption.prefix, **slots) for clause in form.split(", "))
    return ", ".join(filter(None, clauses))
