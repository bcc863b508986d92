"""The words of a project file, before any caption is made of them: triggers, prefixes and descriptions."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from data_contracts.check_faults import Fault, Severity
from data_contracts.faults import InputFault
from data_contracts.lora_stages import CaptionConfig
from data_contracts.project import Project
from data_contracts.records import BaseFamily
from models.caption.denied import holds, words_of
from models.caption.lint import REMEDIES, clauses_of, objection_to, other_names, rules_of
from models.caption.tokens import Tokenizer, count_tokens, load_tokenizer
from models.diffusion import WINDOWS, family_of, tokenizer_folder
from models.weights import first_line

COMMON_RANK = 8000
"""CLIP's vocabulary is in order of frequency: "boy" is 1876, "rose" 3568, "luca" 21053, "elsa" 22050."""
CLIP_FAMILIES: frozenset[BaseFamily] = frozenset({"sd15", "sdxl", "flux"})
"""The families with a CLIP text encoder."""
_ENDS = 2


def word_faults(project: Project, base: Path, loras: list[str]) -> list[Fault]:
    """Return what is wrong with the words that the captions of these LoRAs will be made of."""
    plans = {name: project.loras[name].caption for name in loras if name in project.loras}
    faults = list(_shared_triggers(project))
    for name, plan in plans.items():
        faults += _prefix_faults(project, name, plan)
        faults += _description_faults(project, name, plan)
    try:
        folder = tokenizer_folder(base)
    except InputFault:  # what `base_faults` tells in full
        return faults
    try:
        tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        return [*faults, _fault("base", "no_tokenizer", f"its tokenizer cannot be read ({first_line(error)})")]
    family = family_of(base)
    for name, plan in plans.items():
        faults += _window_faults(name, plan, family)
        faults += _length_faults(name, plan, tokenizer)
        if family in CLIP_FAMILIES:
            faults += _trigger_faults(name, plan, load_tokenizer(folder.with_name("tokenizer")))
    return faults


def _shared_triggers(project: Project) -> Iterator[Fault]:
    """Yield triggers that two LoRAs share, or that hold one another: stacked, one calls up both."""
    for (one, first), (other, second) in combinations(project.loras.items(), 2):
        triggers = words_of(first.caption.trigger), words_of(second.caption.trigger)
        if triggers[0] == triggers[1]:
            value = f"{second.caption.trigger!r} is the trigger of {one!r} too"
            yield _fault(f"loras.{other}.trigger", "same_trigger", value)
        elif holds(triggers[0], second.caption.trigger) or holds(triggers[1], first.caption.trigger):
            value = f"{first.caption.trigger!r} of {one!r} and {second.caption.trigger!r} share words"
            yield _fault(f"loras.{other}.trigger", "nested_trigger", value)


def _prefix_faults(project: Project, name: str, plan: CaptionConfig) -> Iterator[Fault]:
    """Yield words that the prefix, which no lint takes out of captions, should not hold."""
    rules = rules_of(plan, other_names(plan, _captions(project)))
    for clause in clauses_of(plan.prefix):
        if (found := objection_to(clause, rules)) is not None:
            severity, _ = REMEDIES[found.rule]
            value = f"{found.word!r} in {clause!r}: {found.why}"
            yield _fault(f"loras.{name}.prefix", found.rule, value, "take it out of the prefix", severity)


def _description_faults(project: Project, name: str, plan: CaptionConfig) -> Iterator[Fault]:
    """Yield descriptions of characters and places that this LoRA's captions use, and should not."""
    rules = rules_of(plan, other_names(plan, _captions(project)))
    for subject, words in plan.described_as.items():
        is_character = subject in project.identify_characters.references
        used = plan.type != "background" and not (plan.type == "character" and is_character)
        if not used or (found := objection_to(words, rules)) is None:
            continue
        place = f"{'characters' if is_character else 'places'}.{subject}.described_as"
        if found.rule == "other_trigger":
            value = f"{words!r}, said in the captions of {name!r}, holds the trigger {found.word!r}"
            yield _fault(place, "trigger_in_description", value)
        else:
            value = f"{words!r} holds {found.word!r} and is left out of the captions of {name!r}: {found.why}"
            yield _fault(place, "description_left_out", value)


def _window_faults(name: str, plan: CaptionConfig, family: BaseFamily) -> Iterator[Fault]:
    """Yield captions that may be longer than what the base model reads of them."""
    if plan.max_tokens > (read := WINDOWS[family].tokens):
        value = f"{plan.max_tokens}, but {family} reads {read}: what comes after would be lost"
        yield _fault(f"loras.{name}.caption.max_tokens", "long_captions", value, f"set max_tokens: {read} or less")


def _trigger_faults(name: str, plan: CaptionConfig, tokenizer: Tokenizer) -> Iterator[Fault]:
    """Yield triggers that CLIP, and so the base model, knows as common words."""
    words = words_of(plan.trigger)
    tokens = {word: tokenizer(word)["input_ids"][1:-1] for word in words}
    known = [word for word, ids in tokens.items() if len(ids) == 1 and ids[0] < COMMON_RANK]
    if plan.type in {"character", "background"} and words and len(known) == len(tokens):
        yield _fault(
            f"loras.{name}.trigger", "common_trigger", f"the base model knows {plan.trigger!r} as a common word"
        )


def _length_faults(name: str, plan: CaptionConfig, tokenizer: Tokenizer) -> Iterator[Fault]:
    """Yield beginnings that leave captions no room."""
    head = ", ".join(filter(None, (plan.trigger, plan.prefix)))
    if (count := count_tokens(tokenizer, head)) > plan.max_tokens / _ENDS:
        severity: Severity = "error" if count > plan.max_tokens else "warning"
        value = f"trigger and prefix take {count} of {plan.max_tokens} tokens"
        yield _fault(f"loras.{name}.prefix", "long_prefix", value, severity=severity)


_RULES: dict[str, tuple[Severity, str]] = {
    "same_trigger": ("error", "give each LoRA a trigger of its own"),
    "nested_trigger": ("warning", "give them triggers without common words, or one calls up the other too"),
    "trigger_in_description": ("error", "describe what it looks like instead: that LoRA would learn the name as well"),
    "description_left_out": ("warning", "describe it without this word"),
    "common_trigger": ("warning", "take a rare word or spelling: what the base knows already has to be unlearnt"),
    "long_prefix": ("warning", "shorten them: the rest of the caption is cut off"),
    "no_tokenizer": ("error", "give the folder of a diffusers pipeline, its tokenizer/ included"),
}


def _fault(place: str, rule: str, value: str, remedy: str = "", severity: Severity | None = None) -> Fault:
    usual, says = _RULES.get(rule, ("error", ""))
    return Fault(place=place, rule=rule, value=value, remedy=remedy or says, severity=severity or usual)


def _captions(project: Project) -> list[CaptionConfig]:
    return [plan.caption for plan in project.loras.values()]
