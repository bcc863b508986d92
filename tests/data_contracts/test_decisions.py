"""Decisions made by hand stay with what is seen, whatever is computed again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.decisions import Decision, read_decisions, write_decisions
from data_contracts.faults import InputFault

BOX = (100.0, 50.0, 200.0, 150.0)
REJECT = Decision(film="film", frame=7, box=BOX, verdict="reject")


@pytest.mark.parametrize(
    ("film", "frame", "box", "about"),
    [
        ("film", 7, BOX, True),
        ("film", 7, (104.0, 52.0, 206.0, 154.0), True),  # segmented again, a little larger
        ("film", 7, (160.0, 50.0, 260.0, 150.0), False),  # somebody beside
        ("film", 8, BOX, False),
        ("another", 7, BOX, False),
    ],
)
def test_a_decision_is_about_a_square_of_a_frame(film, frame, box, about):
    assert REJECT.is_about(film, frame, box) is about


@given(st.lists(st.tuples(st.integers(0, 99), st.text(min_size=1)), max_size=8, unique_by=lambda each: each[0]))
def test_decisions_are_read_back_as_written(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("decisions") / "luca.jsonl"
    decisions = [Decision(film="film", frame=n, box=BOX, verdict="caption", caption=text) for n, text in made]
    write_decisions(path, decisions)
    assert read_decisions(path) == tuple(sorted(decisions, key=lambda each: each.frame))


def test_no_file_is_no_decision_and_a_torn_line_is_a_clear_fault(tmp_path):
    assert read_decisions(tmp_path / "luca.jsonl") == ()
    (tmp_path / "luca.jsonl").write_text(REJECT.model_dump_json()[:-9] + "\n")
    with pytest.raises(InputFault, match=r"luca\.jsonl: a line is no decision"):
        read_decisions(tmp_path / "luca.jsonl")
