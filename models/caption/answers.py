"""What a vision-language model answered, read strictly: named keys, short phrases, or a fault that says what is wrong.

An answer is text from outside, so nothing in it is executed or believed: it is looked through for one JSON object, of
which only the keys that were asked for are read, each held to its type and length.
"""

import json
import re
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from models.caption.questions import MAX_DETAILS, MAX_WORDS, Question
from models.caption.template import Facts

MAX_ANSWER = 8000
"""Characters. The longest answer that the keys allow is a tenth of it."""
MAX_PHRASE = 120
"""Characters, so that no phrase of a few endless words gets through."""
NOTHING = frozenset({"none", "null", "n/a", "na", "unknown", "nothing", "not visible", "unclear", "empty"})
EDGES = " .,;:!?\"'`"
DECODER = json.JSONDecoder()


class UnreadableAnswer(ValueError):
    """An answer is not what was asked for; the message says what is wrong in words that the model is told too."""


def _phrase(text: object) -> object:
    """Return text on one line, printable, in lower case, "" where it says that there is nothing; the rest as it is."""
    if not isinstance(text, str):
        return "" if text is None else text
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    phrase = " ".join(printable.split()).strip(EDGES).lower()
    return "" if phrase in NOTHING else phrase


def _short(phrase: str) -> str:
    if (words := len(phrase.split())) > MAX_WORDS or len(phrase) > MAX_PHRASE:
        message = f"it has {words} words and {len(phrase)} characters, at most {MAX_WORDS} and {MAX_PHRASE} are wanted"
        raise ValueError(message)
    return phrase


Phrase = Annotated[str, BeforeValidator(_phrase), AfterValidator(_short)]


class Answer(BaseModel):
    """The keys of an answer; those that were not asked for are empty."""

    model_config = ConfigDict(strict=True, frozen=True)

    who: Phrase = ""
    action: Phrase = ""
    expression: Phrase = ""
    place: Phrase = ""
    details: list[Phrase] = []


def read_answer(text: str, question: Question) -> Answer:
    """Return what `text` answers: one JSON object in it, whatever stands around it.

    Raises:
        UnreadableAnswer: it holds no such object, a key is missing, or a value is not what it should be.
    """
    if len(text) > MAX_ANSWER:
        message = f"it has {len(text)} characters, at most {MAX_ANSWER} are read"
        raise UnreadableAnswer(message)
    found = _object(text, question.asked)
    try:
        return Answer.model_validate({key: found[key] for key in question.asked})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        message = f"{where!r}: {fault['msg']}"
        raise UnreadableAnswer(message) from error


def completed(known: Facts, answer: Answer) -> Facts:
    """Return what is known, with what was asked for and answered; what the stages before measured is kept."""
    found = {key: value for key, value in answer if key != "details" and value}
    said = {*found.values(), known.who, known.action, known.expression, known.place}
    details = [phrase for phrase in dict.fromkeys(answer.details) if phrase and phrase not in said]
    return replace(known, **found, details=tuple(details[:MAX_DETAILS]))


def answer_schema(question: Question) -> dict[str, Any]:
    """Return the JSON Schema of the object that answers a question."""
    phrase = {"type": "string", "maxLength": MAX_PHRASE}
    phrases = {"type": "array", "items": phrase, "maxItems": MAX_DETAILS}
    return {
        "type": "object",
        "properties": {key: phrases if key == "details" else phrase for key in question.asked},
        "required": list(question.asked),
        "additionalProperties": False,
    }


def _object(text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the first JSON object of a text that has all keys.

    Raises:
        UnreadableAnswer: there is none.
    """
    missing = ""
    for brace in re.finditer(r"\{", text):
        try:
            found, _ = DECODER.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if not (lacks := [key for key in keys if key not in found]):
            return dict(found)
        missing = missing or f"its JSON object lacks {', '.join(map(repr, lacks))}"
    raise UnreadableAnswer(missing or "it holds no JSON object, in which keys and texts take double quotes")
