"""Captions lose what the trigger shall mean, what is not there, light, and other triggers; and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.lora_stages import CaptionConfig
from models.caption.denied import denied, words_of
from models.caption.lint import (
    MIN_CAPTIONS,
    Rules,
    clauses_of,
    is_description,
    lint_captions,
    mended,
    objection_to,
    other_names,
    rules_of,
)
from models.caption.template import Facts, clauses
from models.caption.tokens import load_tokenizer
from models.diffusion.lite_base import FOLDER

LUCA = Rules("character", "luca", prefix="3d animation, smooth shading", others=("gia", "sea monster"), deny=("logo",))


@pytest.mark.parametrize(
    ("kind", "clause", "rule", "word"),
    [
        ("character", "brown hair", "denied_word", "hair"),
        ("character", "dark-haired", "denied_word", "haired"),
        ("character", "gia's boat", "other_trigger", "gia"),
        ("character", "wearing something", "denied_word", "wearing"),
        ("character", "two striped shirts", "denied_word", "shirt"),
        ("character", "Blue SHORTS", "denied_word", "shorts"),
        ("character", "in dresses", "denied_word", "dress"),
        ("background", "a group of people", "denied_word", "people"),
        ("background", "boys at the quay", "denied_word", "boy"),
        ("background", "ladies and babies", "denied_word", "baby"),
        ("pose", "running along the shore", "denied_word", "running"),
        ("pose", "arms raised", "denied_word", "arms raised"),
        ("pose", "hands-on-hips", "denied_word", "hands on hips"),
        ("expression", "smiling broadly", "denied_word", "smiling"),
        ("expression", "with an open mouth", "denied_word", "open mouth"),
        ("character", "no people", "negation", "no"),
        ("pose", "without shoes", "negation", "without"),
        ("background", "it isn't raining", "negation", "isn't"),
        ("background", "it isn\u2019t raining", "negation", "isn't"),
        ("character", "soft natural lighting", "lighting_word", "lighting"),
        ("background", "Golden Hour", "lighting_word", "golden hour"),
        ("character", "beside gia", "other_trigger", "gia"),
        ("character", "a sea-monster behind", "other_trigger", "sea monster"),
        ("character", "a logo on the wall", "denied_word", "logo"),
    ],
)
def test_a_clause_that_says_too_much(kind, clause, rule, word):
    rules = Rules(kind, "luca", others=LUCA.others, deny=LUCA.deny)
    found = objection_to(clause, rules)
    assert found is not None
    assert (found.rule, found.word) == (rule, word)
    kept, (note,) = mended(["luca", clause, "side view"], rules)
    assert kept == ["luca", "side view"]
    assert repr(clause) in note
    assert repr(word) in note
    assert found.why in note


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        ("character", "on a chair"),
        ("character", "a redressed stone"),
        ("character", "running on a beach"),
        ("character", "happy expression"),
        ("character", "on a shortcut"),
        ("background", "a manor with a childproof gate"),
        ("background", "cobbled street with shops"),
        ("pose", "a boy with brown curly hair"),
        ("pose", "happy expression"),
        ("pose", "waves on a beach beside waterfalls"),
        ("expression", "running"),
        ("expression", "on a madras cloth"),
        ("character", "behind a knot of notebooks"),
        ("character", "another nose"),
        ("background", "light blue walls under a lighthouse"),
        ("character", "near giant trees"),
        ("character", "sea and a monster"),
        ("character", "a logotype"),
    ],
)
def test_a_clause_that_only_looks_like_it(kind, clause):
    rules = Rules(kind, "luca", others=LUCA.others, deny=LUCA.deny)
    assert objection_to(clause, rules) is None
    assert mended(["luca", clause], rules) == (["luca", clause], ())


def test_trigger_and_prefix_stay_whatever_they_say():
    rules = Rules("character", "red hat boy", prefix="no outline, soft lighting")
    given_clauses = ["red hat boy", "no outline, soft lighting", "red hat", "soft lighting"]
    kept, notes = mended(given_clauses, rules)
    assert kept == ["red hat boy", "no outline, soft lighting", "soft lighting"]
    assert len(notes) == 1


def test_a_clause_is_said_once():
    kept, notes = mended(["luca", "side view", "Side-View", "side views"], LUCA)
    assert kept == ["luca", "side view", "side views"]
    assert notes == ("dropped 'Side-View': an earlier clause says it",)


@pytest.mark.parametrize("kind", ["character", "background", "pose", "expression"])
def test_captions_from_facts_lose_nothing(kind):
    facts = Facts("a boy in a blue shirt", "walking", "sad", "a town street with red houses", "full", "profile")
    trigger = {"pose": "walking pose", "expression": "sad expression"}.get(kind, "xyz")
    made = clauses(kind, trigger, "3d animation", facts)
    assert mended(made, Rules(kind, trigger, "3d animation")) == (made, ())


WORDS = sorted({word for entry in denied().types["character"].words for word in words_of(entry)} | denied().common)
CLAUSE = st.lists(st.sampled_from([*WORDS, "no", "lighting", "gia", "luca", "quay", "wave"]), min_size=1, max_size=4)


@given(st.lists(CLAUSE.map(" ".join), max_size=8))
def test_mending_keeps_order_is_final_and_leaves_nothing_to_lint(made):
    kept, notes = mended(["luca", *made], LUCA)
    assert len(kept) + len(notes) == len(made) + 1
    rest = iter(["luca", *made])
    assert all(clause in rest for clause in kept)
    assert mended(kept, LUCA) == (kept, ())
    assert lint_captions({"a": ", ".join(kept)}, LUCA) == []


@given(st.text(max_size=60))
def test_any_text_can_be_linted(text):
    faults = lint_captions({"a": text}, LUCA)
    assert bool(text.strip()) or [fault.rule for fault in faults] == ["empty_caption"]
    assert all(fault.place == "a" for fault in faults)
    assert ", ".join(clauses_of(text)) == ", ".join(clause.strip() for clause in clauses_of(text))


def test_tokens_are_counted_by_the_base_models_tokenizer():
    tokenizer = load_tokenizer(FOLDER / "tokenizer")
    text = "luca, " + "under the bridge " * 30
    (fault,) = lint_captions({"a": text}, Rules(trigger="luca", tokenizer=tokenizer))
    assert fault.rule == "over_tokens"
    assert "tokens, 77 are read" in fault.value
    assert lint_captions({"a": text}, Rules(trigger="luca", tokenizer=tokenizer, max_tokens=225)) == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("luca, here", set()),
        ("Luca runs", set()),
        ("here is luca", {"trigger_not_first"}),
        ("lucas house", {"trigger_missing"}),
        ("luca's house", set()),
        ("", {"empty_caption"}),
    ],
)
def test_the_trigger_stands_first(text, rules):
    assert {fault.rule for fault in lint_captions({"a": text}, Rules(trigger="luca"))} == rules


def captions(count: int, text: str) -> dict[str, str]:
    return {f"{number}.txt": text.format(number=number) for number in range(count)}


def test_words_that_nearly_all_captions_share_are_learnt():
    texts = captions(20, "luca, 3d animation, with a red ball, place {number}, side view")
    texts["0.txt"] = "luca, 3d animation, place 0"
    found = lint_captions(texts, Rules(trigger="luca", prefix="3d animation"))
    assert {(fault.rule, fault.place) for fault in found} == {("learnt_word", "all captions")}
    assert sorted(fault.value.split("'")[1] for fault in found) == ["ball", "place", "red"]
    assert "95% of 20 captions" in next(fault.value for fault in found if "'ball'" in fault.value)
    assert all("drop it" in fault.remedy for fault in found)


def test_words_of_fewer_captions_are_not():
    texts = captions(10, "luca, place{number}") | {f"x{number}": f"luca, a ball, here{number}" for number in range(80)}
    assert lint_captions(texts, Rules(trigger="luca")) == []


def test_few_captions_share_words_by_chance():
    assert lint_captions(captions(MIN_CAPTIONS - 1, "luca, with a red ball, place {number}"), LUCA) == []


def test_captions_that_are_all_equal_teach_the_trigger_alone():
    (fault,) = lint_captions(captions(20, "luca, on a beach"), Rules(trigger="luca"))
    assert (fault.rule, fault.severity) == ("equal_captions", "warning")
    assert fault.value == "20 of 20 read 'luca, on a beach'"


def plan(kind: str, trigger: str) -> CaptionConfig:
    return CaptionConfig(type=kind, subject=trigger, trigger=trigger, prefix="3d", deny=("logo",), max_tokens=225)


def test_descriptions_are_nobodys_trigger_and_names_are():
    plans = [plan("character", "luca"), plan("character", "gia"), plan("pose", "running pose"), plan("pose", "xq pose"),
             plan("expression", "happy expression"), plan("background", "portorosso")]  # fmt: skip
    assert other_names(plans[0], plans) == ("gia", "xq pose", "portorosso")
    assert is_description("happy expression", "expression")
    assert not is_description("running pose", "character")


def test_rules_of_a_lora():
    rules = rules_of(plan("character", "luca"), ["gia"])
    assert rules == Rules("character", "luca", "3d", ("gia",), ("logo",), 225)


def test_the_lists_hold_words_that_can_be_found():
    lists = denied()
    for words in (*lists.types.values(), lists.negations, lists.lighting):
        assert words.why
        assert len(set(words.words)) == len(words.words)
        for entry in words.words:
            assert words.found_in(f"so {entry} there"), entry
    assert set(lists.types) == {"character", "background", "pose", "expression"}
    assert all(isinstance(word, str) for word in lists.common)
