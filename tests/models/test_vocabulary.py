"""CLIP's vocabulary, cut down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.diffusion.vocabulary import clip_tokenizer, cut_tokenizer

WORDS = ("striped", "parasol", "surprised", "jumping", "a")


@pytest.fixture(scope="module")
def whole():
    return clip_tokenizer()


@pytest.fixture(scope="module")
def cut():
    return cut_tokenizer(WORDS, first=500)


def test_the_whole_vocabulary_is_clips(whole):
    assert len(whole) == 49_408
    assert whole("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_kept_words_are_the_tokens_that_clip_makes_of_them(whole, cut):
    assert len(cut) < 1100
    for word in WORDS:
        assert cut.tokenize(word) == whole.tokenize(word)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=40))
def test_every_text_can_be_written_and_read_back(cut, text):
    ids = cut(text, add_special_tokens=False).input_ids
    assert cut.decode(ids).replace(" ", "") == text.lower().replace(" ", "")


def test_a_cut_tokenizer_is_the_same_after_being_saved(cut, tmp_path):
    cut.save_pretrained(tmp_path)
    again = type(cut).from_pretrained(tmp_path)
    assert again("a striped parasol, jumping").input_ids == cut("a striped parasol, jumping").input_ids
    assert again.model_max_length == 77
