"""Captions name what the trigger shall not mean, in the order and words of the field."""

import pytest

from models.caption.template import Facts, clauses

SEEN = Facts(who="a boy", action="running", expression="happy", place="on a beach", size="full", view="profile")


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


def test_unknown_facts_are_left_out():
    assert clauses("character", "x", "", Facts(expression="unknown")) == ["x"]


@pytest.mark.parametrize(
    ("place", "words"),
    [("a town street", "in a town street"), ("on a beach", "on a beach"), ("under a bridge", "under a bridge")],
)
def test_a_place_keeps_the_preposition_of_its_description(place, words):
    assert words in clauses("character", "x", "", Facts(place=place))
