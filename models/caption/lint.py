"""Linting captions: what they may not say, so that the trigger learns the subject, all of it and nothing else.

`mended` takes clauses out before a caption is written; `lint_captions` reports on captions that are there already.
The words come from denied.yaml; why each list is denied stands there.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_contracts.check_faults import Fault, Severity
from data_contracts.lora_stages import CaptionConfig
from data_contracts.records import LoraType
from models.caption.denied import content_words, denied, first_held, without, words_of
from models.caption.tokens import Tokenizer, count_tokens

LEARNT_SHARE = 0.9
EQUAL_SHARE = 0.5
MIN_CAPTIONS = 10
"""Fewer captions share words by chance."""
SET = "all captions"
_CLAUSE_END = re.compile(r"[,;\n]|\.(?:\s|$)")

REMEDIES: dict[str, tuple[Severity, str]] = {
    "empty_caption": ("error", "write a caption, or take the picture out"),
    "over_tokens": ("error", "shorten it: the text encoder never reads the end"),
    "trigger_missing": ("error", "put the trigger first, or nothing calls up what is learnt"),
    "trigger_not_first": ("warning", "put the trigger first: trainers keep the first clause in place (keep_tokens)"),
    "denied_word": ("error", "drop the clause, so that the trigger takes this meaning"),
    "negation": ("error", "leave out what is not there: a text encoder knows no negation and teaches the word"),
    "lighting_word": ("warning", "drop the clause, unless light is what you teach"),
    "other_trigger": ("error", "describe the other subject in words of its own, not by its trigger"),
    "repeated_clause": ("warning", "say it once: a repetition weighs more and costs tokens"),
    "equal_captions": ("warning", "name what differs, or everything in these pictures goes into the trigger"),
    "learnt_word": (
        "warning",
        "is it part of the subject? then drop it, so that the trigger means it; else vary the pictures",
    ),
}


@dataclass(frozen=True)
class Rules:
    """What captions of one LoRA have to keep to.

    type: decides which words are the trigger's business; None denies none of them.
    trigger: stands first in every caption; "" where there is none, as for regularisation pictures.
    prefix: words that all captions share; neither they nor the trigger are ever taken out.
    others: triggers of other LoRAs.
    deny: more words that no caption may hold.
    max_tokens: both ends included; counted where there is a tokenizer.
    """

    type: LoraType | None = None
    trigger: str = ""
    prefix: str = ""
    others: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_tokens: int = 77
    tokenizer: Tokenizer | None = None


def rules_of(config: CaptionConfig, others: Sequence[str] = (), tokenizer: Tokenizer | None = None) -> Rules:
    """Return what one LoRA's captions have to keep to.

    Args:
        config: the LoRA's captions.
        others: triggers of other LoRAs, as `other_names` tells them.
        tokenizer: the base model's; None leaves tokens uncounted.
    """
    return Rules(
        type=config.type,
        trigger=config.trigger,
        prefix=config.prefix,
        others=tuple(others),
        deny=config.deny,
        max_tokens=config.max_tokens,
        tokenizer=tokenizer,
    )


def other_names(own: CaptionConfig, plans: Iterable[CaptionConfig]) -> tuple[str, ...]:
    """Return the triggers of the other LoRAs that are names.

    A pose's or an expression's trigger may be plain description, such as "happy expression": what a picture shows, and
    what every other caption may say and should.
    """
    return tuple(
        plan.trigger
        for plan in plans
        if plan.trigger.casefold() != own.trigger.casefold() and not is_description(plan.trigger, plan.type)
    )


def is_description(trigger: str, kind: LoraType) -> bool:
    """Return whether a pose's or an expression's trigger is made of words for poses or expressions alone."""
    return kind in {"pose", "expression"} and all(denied().types[kind].found_in(word) for word in words_of(trigger))


@dataclass(frozen=True)
class Objection:
    """A word that a clause should not hold."""

    rule: str
    word: str
    why: str


def mended(clauses: Sequence[str], rules: Rules) -> tuple[list[str], tuple[str, ...]]:
    """Take out, whole, the clauses that a caption of these rules may not hold; order is kept.

    Returns:
        The clauses that stay, and for each that does not, which word it was and why.
    """
    kept: list[str] = []
    notes: list[str] = []
    said: set[tuple[str, ...]] = set()
    for clause in clauses:
        spoken = words_of(clause)
        if spoken and spoken in said:
            notes.append(f"dropped {clause!r}: an earlier clause says it")
        elif not is_exempt(clause, rules) and (objection := objection_to(clause, rules)) is not None:
            notes.append(f"dropped {clause!r}: {objection.word!r}: {objection.why}")
        else:
            kept.append(clause)
            said.add(spoken)
    return kept, tuple(notes)


def is_exempt(clause: str, rules: Rules) -> bool:
    """Return whether a clause is the trigger, the prefix, or a clause of the prefix."""
    given = {rules.trigger, rules.prefix, *clauses_of(rules.prefix)}
    return clause.strip().casefold() in {text.strip().casefold() for text in given if text}


def objection_to(clause: str, rules: Rules) -> Objection | None:
    """Return the first word of a clause that should not be there; the LoRA's own trigger is overlooked."""
    lists = denied()
    own = lists.types.get(rules.type) if rules.type else None
    kinds: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("other_trigger", "another LoRA's trigger, which would come to mean this one's subject", rules.others),
        ("negation", lists.negations.why, lists.negations.words),
        ("denied_word", own.why if own else "", own.words if own else ()),
        ("denied_word", "the project denies it", rules.deny),
        ("lighting_word", lists.lighting.why, lists.lighting.words),
    )
    spoken = without(words_of(clause), rules.trigger)
    found = ((rule, first_held(spoken, words), why) for rule, why, words in kinds)
    return next((Objection(*each) for each in found if each[1]), None)


def lint_captions(captions: Mapping[str, str], rules: Rules) -> list[Fault]:
    """Return all faults of a set of captions, by the name of their file; those of the whole set come last."""
    faults = [fault for name, text in captions.items() for fault in _lint(name, text, rules)]
    return [*faults, *_lint_set([text for text in captions.values() if text.strip()], rules)]


def clauses_of(caption: str) -> list[str]:
    """Return a caption's clauses: what commas, semicolons, full stops and line ends part."""
    return [clause.strip() for clause in _CLAUSE_END.split(caption) if clause.strip()]


def _lint(name: str, text: str, rules: Rules) -> Iterator[Fault]:
    """Yield the faults of one caption."""
    if not text.strip():
        yield _fault(name, "empty_caption", "it is empty")
        return
    if rules.tokenizer is not None and (tokens := count_tokens(rules.tokenizer, text)) > rules.max_tokens:
        yield _fault(name, "over_tokens", f"it has {tokens} tokens, {rules.max_tokens} are read")
    if rules.trigger:
        yield from _lint_trigger(name, text, rules.trigger)
    said: set[tuple[str, ...]] = set()
    for clause in clauses_of(text):
        if (spoken := words_of(clause)) in said:
            yield _fault(name, "repeated_clause", f"it says {clause!r} twice")
        said.add(spoken)
        if not is_exempt(clause, rules) and (found := objection_to(clause, rules)) is not None:
            yield _fault(name, found.rule, f"{found.word!r} in {clause!r}: {found.why}")


def _lint_trigger(name: str, text: str, trigger: str) -> Iterator[Fault]:
    spoken, wanted = tuple(word.removesuffix("'s") for word in words_of(text)), words_of(trigger)
    if without(spoken, trigger) == spoken and (wanted or trigger not in text):
        yield _fault(name, "trigger_missing", f"the trigger {trigger!r} is not in {text.strip()!r}")
    elif spoken[: len(wanted)] != wanted:
        yield _fault(name, "trigger_not_first", f"the trigger {trigger!r} stands behind {clauses_of(text)[0]!r}")


def _lint_set(texts: Sequence[str], rules: Rules) -> Iterator[Fault]:
    """Yield what only shows when all captions of a subject are seen together."""
    if len(texts) < MIN_CAPTIONS:
        return
    (text, count), total = Counter(texts).most_common(1)[0], len(texts)
    if count / total > EQUAL_SHARE:
        yield _fault(SET, "equal_captions", f"{count} of {total} read {text.strip()!r}")
        return
    if not rules.trigger:
        return  # which of the shared words is the trigger?
    counts = Counter(word for words in content_words(texts, (rules.trigger, rules.prefix)) for word in words)
    for word, count in counts.most_common():
        if count / total >= LEARNT_SHARE:
            yield _fault(SET, "learnt_word", f"{word!r} stands in {count / total:.0%} of {total} captions")


def _fault(place: str, rule: str, value: str) -> Fault:
    severity, remedy = REMEDIES[rule]
    return Fault(place=place, rule=rule, value=value, remedy=remedy, severity=severity)
