"""Captions name what the trigger shall not mean; models are asked for nothing else, and believed in nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.caption import CAPTIONERS
from models.caption.answers import MAX_PHRASE, UnreadableAnswer, answer_schema, completed, read_answer
from models.caption.asking import ATTEMPTS, describe_with
from models.caption.questions import ASKED, MAX_DETAILS, MAX_WORDS, Question, question_of
from models.caption.template import Facts, clauses

SEEN = Facts(who="a boy", action="running", expression="happy", place="on a beach", size="full", view="profile")
KINDS = sorted(ASKED)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("character", "x, 3d animation, running, happy expression, on a beach, full body, side view"),
        ("pose", "x, 3d animation, a boy, happy expression, on a beach, full body, side view"),
        ("expression", "x, 3d animation, a boy, running, on a beach, full body, side view"),
        ("background", "x, 3d animation, empty scene"),
    ],
)
def test_a_caption_never_names_its_own_subject(kind, expected):
    assert ", ".join(clauses(kind, "x", "3d animation", SEEN)) == expected
    told = replace(SEEN, details=("holding a red ball", "a boat behind"))
    assert ", ".join(clauses(kind, "x", "3d animation", told)) == f"{expected}, holding a red ball, a boat behind"


def test_unknown_facts_are_left_out():
    assert clauses("character", "x", "", Facts(expression="unknown", action="unknown")) == ["x"]


def test_an_action_in_the_captioners_own_words_stands_as_it_is():
    assert clauses("character", "x", "", Facts(action="leaning on a wall")) == ["x", "leaning on a wall"]
    assert clauses("character", "x", "", Facts(action="jumping")) == ["x", "jumping with arms raised"]


@pytest.mark.parametrize(
    ("place", "words"),
    [("a town street", "in a town street"), ("on a beach", "on a beach"), ("under a bridge", "under a bridge")],
)
def test_a_place_keeps_the_preposition_of_its_description(place, words):
    assert words in clauses("character", "x", "", Facts(place=place))


def test_the_template_says_what_is_known_and_looks_at_nothing():
    template = CAPTIONERS.load("template", None, None)
    assert not template.looks
    assert template.describe([], [SEEN, Facts()], "character") == [SEEN, Facts()]


@pytest.mark.parametrize(
    ("kind", "never"), [("character", "who"), ("pose", "action"), ("expression", "expression"), ("background", "who")]
)
def test_a_model_is_not_asked_for_what_the_trigger_shall_mean(kind, never):
    question = question_of(kind, Facts())
    assert question.asked == ASKED[kind]
    assert never not in question.asked
    assert f'"{never}"' not in question.text
    assert f'"{never}"' not in json.dumps(answer_schema(question))


def test_a_model_is_asked_for_what_is_not_known_and_told_the_rest():
    question = question_of("character", replace(SEEN, expression="unknown"))
    assert question.asked == ("expression", "details")
    assert "Known already, not to be repeated: running; on a beach." in question.text
    assert "a boy" not in question.text


@given(st.sampled_from(KINDS), st.builds(Facts, who=st.text(), action=st.text(), expression=st.text()))
def test_what_is_known_is_never_overruled(kind, known):
    question = question_of(kind, known)
    told = {key: ["a net"] if key == "details" else f"{key} guessed" for key in ASKED["pose"] + ASKED["character"]}
    facts = completed(known, read_answer(json.dumps(told), question))
    for key in ("who", "action", "expression", "place"):
        before = getattr(known, key)
        if key in question.asked:
            assert getattr(facts, key) == f"{key} guessed"
        else:
            assert getattr(facts, key) == before
    assert facts.details == ("a net",)


ALL = Question(("action", "place", "details"), "?")
GOOD = {"action": "Leaning  on\na wall.", "place": "none", "details": ["Holding a ball", "", "holding a ball", None]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Sure! {{of course}} Here it is: {json.dumps(GOOD)} {{...}} Anything else?",
        json.dumps({**GOOD, "who": 7, "mood": [1, 2]}),
        json.dumps({"answer": GOOD}),
    ],
)
def test_an_answer_is_found_whatever_stands_around_it(text):
    facts = completed(Facts(), read_answer(text, ALL))
    assert facts == Facts(action="leaning on a wall", details=("holding a ball",))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no JSON object"),
        ("A boy leans on a wall.", "holds no JSON object"),
        (str(GOOD), "double quotes"),
        ('{"action": "leaning"', "holds no JSON object"),
        ('{"action": "leaning", "details": []}', "lacks 'place'"),
        (json.dumps({**GOOD, "action": 3}), "'action': .*string"),
        (json.dumps({**GOOD, "details": "a ball"}), "'details': .*list"),
        (json.dumps({**GOOD, "details": ["a ball", ["a net"]]}), r"'details\.1': .*string"),
        (
            json.dumps({**GOOD, "place": "on " * 15}),
            f"has 15 words and 44 characters, at most {MAX_WORDS} and {MAX_PHRASE}",
        ),
        (json.dumps({**GOOD, "place": "a" * (MAX_PHRASE + 1)}), f"has 1 words and {MAX_PHRASE + 1} characters"),
        ("{" * 9000, "9000 characters, at most 8000"),
        ('{"a":' * 1500, "holds no JSON object"),
        ('{"action": ' + "9" * 5000 + "}", "holds no JSON object"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(text, fault):
    with pytest.raises(UnreadableAnswer, match=fault):
        read_answer(text, ALL)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYED = st.fixed_dictionaries({key: JSON | st.lists(st.text(), max_size=9) for key in ALL.asked}).map(json.dumps)


@given(st.text() | st.text(alphabet='{}[]":,\\`nu1e') | JSON.map(json.dumps) | KEYED)
def test_any_text_is_an_answer_or_the_parsers_own_fault(text):
    try:
        facts = completed(Facts(), read_answer(text, ALL))
    except UnreadableAnswer as fault:
        assert str(fault)  # noqa: PT017  what hypothesis finds is one or the other
        return
    assert len(facts.details) <= MAX_DETAILS
    for phrase in (facts.action, facts.place, *facts.details):
        assert phrase == phrase.strip()
        assert phrase.isprintable()
        assert len(phrase.split()) <= MAX_WORDS
        assert len(phrase) <= MAX_PHRASE
        phrase.encode()


class Parrot:
    """Answers with what it is told to, in turn; notes what it was asked."""

    def __init__(self, *rounds: list[str]) -> None:
        self.rounds, self.asked = list(rounds), []

    def answer(self, crops, questions, attempt):
        self.asked.append((len(crops), attempt, [question.text for question in questions]))
        return self.rounds[attempt]


def test_only_what_could_not_be_read_is_asked_again_and_then_given_up():
    crops = [np.zeros((4, 4, 3), np.uint8)] * 3
    good = '{"details": ["cobbled street"]}'
    parrot = Parrot([good, "hm", "hm"], [good, "{}"], ['{"details": 3}'])
    first, second, third = describe_with(parrot, crops, [Facts(), Facts(), Facts(view="back")], "background")
    assert first == second == Facts(details=("cobbled street",))
    assert isinstance(third, UnreadableAnswer)
    assert [(count, attempt) for count, attempt, _ in parrot.asked] == [(3, 0), (2, 1), (1, 2)]
    assert len(parrot.asked) == ATTEMPTS
    (last,) = parrot.asked[2][2]
    assert "Your last answer could not be read: its JSON object lacks 'details'. Answer again." in last
    assert "holds no JSON" not in last  # only the last fault: questions do not grow
    assert describe_with(Parrot([]), [], [], "background") == []
