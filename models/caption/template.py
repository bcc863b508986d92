"""Captions from facts: the trigger first, then everything that the trigger shall *not* mean.

What a caption names, the trigger does not have to explain; what it leaves out is what the trigger learns. So a
character's captions name action, expression, place and framing but never hair or clothes; a pose's captions
describe who does it and where, but never the pose.
"""

from dataclasses import dataclass

from data_contracts.records import LoraType

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
    """What is known of a crop; empty text where nothing is."""

    who: str = ""
    action: str = ""
    expression: str = ""
    place: str = ""
    size: str = ""
    view: str = ""


def clauses(kind: LoraType, trigger: str, prefix: str, facts: Facts) -> list[str]:
    """Return the caption's clauses in order; those of the LoRA's own subject are left out."""
    action = "" if kind == "pose" else ACTION_WORDS.get(facts.action, "")
    expression = f"{facts.expression} expression" if facts.expression not in {"", "unknown"} else ""
    words = [trigger, prefix]
    if kind == "background":
        return [word for word in (*words, "empty scene") if word]
    if kind != "character":
        words.append(facts.who)
    words += [action, "" if kind == "expression" else expression, _where(facts.place)]
    words += [SIZE_WORDS.get(facts.size, ""), VIEW_WORDS.get(facts.view, "")]
    return [word for word in words if word]


def _where(place: str) -> str:
    """Return the place with the preposition that its description begins with; "in" where there is none."""
    return place if not place or place.startswith(PREPOSITIONS) else f"in {place}"
