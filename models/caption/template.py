"""Captions from facts: the trigger first, then everything that the trigger shall *not* mean.

What a caption names, the trigger does not have to explain; what it leaves out is what the trigger learns. So a
character's captions name action, expression, place and framing but never hair or clothes; a pose's captions
describe who does it and where, but never the pose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.records import UNSAID, LoraType
from models.pictures import Picture

ACTION_WORDS = {
    "running": "running",
    "jumping": "jumping with arms raised",
    "walking": "walking",
    "standing": "standing",
    "waving": "waving",
    "sitting": "sitting",
}
SIZE_WORDS = {"close-up": "close-up", "medium": "medium shot", "full": "full body"}
PREPOSITIONS = ("in ", "on ", "at ", "by ", "under ", "near ", "inside ", "outside ")
VIEW_WORDS = {"front": "front view", "three-quarter": "three-quarter view", "profile": "side view", "back": "back view"}


@dataclass(frozen=True)
class Facts:
    """What is known of a crop; empty text where nothing is, or where the stage before says `unknown`.

    who: the one who is seen, as other LoRAs' captions describe them.
    action: a word of the pose stage, or in a captioner's own words.
    details: short phrases that only a look at the picture gives, such as "holding a red ball", the foremost first.
    """

    who: str = ""
    action: str = ""
    expression: str = ""
    place: str = ""
    size: str = ""
    view: str = ""
    details: tuple[str, ...] = ()


class Template:
    """The `template` captioner: it looks at nothing and adds nothing to what the stages before know."""

    looks = False

    def describe(
        self,
        crops: Sequence[Picture],  # noqa: ARG002
        known: Sequence[Facts],
        kind: LoraType,  # noqa: ARG002
    ) -> list[Facts]:
        """Return what is known (see `Captioner`)."""
        return list(known)

    def release(self) -> None:
        """There is nothing to give back."""


def clauses(kind: LoraType, trigger: str, prefix: str, facts: Facts) -> list[str]:
    """Return the caption's clauses in order; those of the LoRA's own subject are left out.

    Details come last: a caption that is too long is cut from its end.
    """
    if kind == "background":
        return _said([trigger, prefix, "empty scene", *facts.details])
    who = "" if kind == "character" else facts.who
    action = "" if kind == "pose" else _action(facts)
    expression = "" if kind == "expression" else _expression(facts)
    return _said([trigger, prefix, who, action, expression, *_surroundings(facts, facts.place)])


def inhabited_clauses(trigger: str, prefix: str, facts: Facts) -> list[str]:
    """Return the clauses of a place with people in it: all that is known of them, as the trigger means the place."""
    return _said([trigger, prefix, facts.who, _action(facts), _expression(facts), *_surroundings(facts, place="")])


def others_clauses(kind: LoraType, prefix: str, facts: Facts) -> list[str]:
    """Return the clauses of a picture that shows another than the LoRA's subject: no trigger, all that is known."""
    if kind == "background":
        return _said([prefix, "empty scene", _where(facts.place), *facts.details])
    return _said([prefix, facts.who, _action(facts), _expression(facts), *_surroundings(facts, facts.place)])


def _said(words: list[str]) -> list[str]:
    return [word for word in words if word]


def _action(facts: Facts) -> str:
    return "" if facts.action in UNSAID else ACTION_WORDS.get(facts.action, facts.action)


def _expression(facts: Facts) -> str:
    return "" if facts.expression in UNSAID else f"{facts.expression} expression"


def _surroundings(facts: Facts, place: str) -> list[str]:
    return [_where(place), SIZE_WORDS.get(facts.size, ""), VIEW_WORDS.get(facts.view, ""), *facts.details]


def _where(place: str) -> str:
    """Return the place with the preposition that its description begins with; "in" where there is none."""
    return place if not place or place.startswith(PREPOSITIONS) else f"in {place}"
