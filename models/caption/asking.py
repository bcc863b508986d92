"""Asking a vision-language model of many crops: every answer that cannot be read is asked for again, a few times."""

from collections.abc import Sequence
from typing import Protocol

from data_contracts.records import LoraType
from models.caption.answers import UnreadableAnswer, completed, read_answer
from models.caption.questions import Question, question_of
from models.caption.template import Facts
from models.pictures import Picture

ATTEMPTS = 3
TEMPERATURE = 0.3
"""Of every attempt but the first, which is greedy: the same question would get the same answer."""
MAX_NEW_TOKENS = 256
"""The longest answer that the keys allow, twice."""


class VisionModel(Protocol):
    """Answers a question about a picture, many at once."""

    def answer(self, crops: Sequence[Picture], questions: Sequence[Question], attempt: int) -> list[str]:
        """Return an answer to each question about its crop.

        Args:
            crops: `(H, W, 3)` RGB uint8 of any sizes.
            questions: one a crop.
            attempt: counted from 0; greedy at 0, then at TEMPERATURE with a seed of its own.
        """
        ...


def describe_with(
    model: VisionModel, crops: Sequence[Picture], known: Sequence[Facts], kind: LoraType
) -> list[Facts | UnreadableAnswer]:
    """Return what is known of each crop, completed by what the model sees (see `Captioner`)."""
    described: dict[int, Facts | UnreadableAnswer] = {}
    first = [question_of(kind, facts) for facts in known]
    asked = dict(enumerate(first))
    for attempt in range(ATTEMPTS):
        texts = model.answer([crops[index] for index in asked], list(asked.values()), attempt) if asked else []
        again = {}
        for (index, question), text in zip(asked.items(), texts, strict=True):
            try:
                described[index] = completed(known[index], read_answer(text, question))
            except UnreadableAnswer as fault:
                described[index] = fault
                again[index] = first[index].again(fault)
        asked = again
    return [described[index] for index in range(len(first))]
