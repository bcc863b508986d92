"""Prompts of more than 77 tokens are read in parts, by what trains and by what draws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTextModel

from data_contracts.training import TrainSettings
from models.diffusion import load_base
from models.diffusion.clip_text import clip_tokens
from models.diffusion.drawing import Drawing
from models.diffusion.textual_inversion import add_words, speak
from models.diffusion.vocabulary import text_config
from models.trainers.examples import prepare
from models.trainers.step import Adapter, Trainer
from tests.models.family_runs import tiny_examples
from tests.random_base import make_random_base
from tests.random_sdxl import make_random_sdxl, small_tokenizer

TOKENIZER = small_tokenizer()


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / f"long-{request.param}"
    base = make_random_sdxl(folder) if request.param == "sdxl" else make_random_base(folder, tokenizer=TOKENIZER)
    return load_base(base, device="cpu")


def read(model, *prompts: str) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(model.encode_prompts(prompts))


def test_parts_are_read_as_prompts_and_joined(model):
    long, first, second = (read(model, prompt) for prompt in ("view " * 80, "view " * 75, "view " * 5))
    torch.testing.assert_close(long["states"], torch.cat([first["states"], second["states"]], dim=1))
    assert long["states"].shape[1] == 154
    together, empty = read(model, "view " * 80, "luca"), read(model, "", "luca")
    torch.testing.assert_close(together["states"][:1], long["states"])
    torch.testing.assert_close(together["states"][1], torch.cat([empty["states"][1], empty["states"][0]]))
    if "pooled" in long:
        torch.testing.assert_close(together["pooled"], torch.cat([first["pooled"], empty["pooled"][1:]]))


def test_what_is_read_one_by_one_is_the_same_as_one_batch(model):
    prompts = "luca", "view " * 80, "harbour " * 160
    alone = [read(model, prompt) for prompt in prompts]
    found, expected = model.stacked(alone, read(model, "")), read(model, *prompts)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert model.stacked(alone[:1], read(model, ""))["states"] is not None


def test_short_and_long_captions_train_in_one_batch(model, tmp_path):
    examples = tiny_examples(tmp_path)
    examples = [examples[0], examples[1].model_copy(update={"caption": "luca, " + "view " * 90})]
    values = {"rank": 2, "batch": 2, "resolution": 64, "text_encoder_learning_rate": 0.0, "masked_loss": True}
    config = TrainSettings.model_validate({**values, "caption_dropout": 0.0})
    trainer = Trainer(Adapter(model, config), prepare(model, examples, config), config)
    assert np.isfinite(trainer.step(0))


def test_either_prompt_may_be_the_longer(model):
    drawing = Drawing(1, 4.0, 64)
    long = "view " * 80
    for prompt, negative in ((long, "luca"), ("luca", long), (long, long)):
        towards, away = model.encode_against([prompt, "luca"], negative)
        assert towards["states"].shape == away["states"].shape == (2, 154, towards["states"].shape[2])
        (picture,) = model.sample([prompt], negative, [1], drawing)
        assert picture.shape == (64, 64, 3)
        reading = model.reading([prompt], negative, drawing)({"added_cond_kwargs": {}})
        assert reading["encoder_hidden_states"].shape[:2] == (2, 154)


def test_vectors_count_as_tokens(model):
    key, encoder = next(iter(model.text_encoders.items()))
    tokenizer = model.word_tokenizers[key]
    words = "luca " + "view " * 74
    assert clip_tokens(tokenizer, [words], encoder).shape == (1, 1, 77)
    widths = {name: each.config.hidden_size for name, each in model.text_encoders.items()}
    add_words(model, "x", "luca", {name: torch.ones(2, width) for name, width in widths.items()})
    speak(["x"], *model.text_encoders.values())
    tokens = clip_tokens(tokenizer, [words], encoder)
    speak([], *model.text_encoders.values())
    assert tokens.shape == (1, 2, 77)
    assert tokens[0, 0, 1:3].tolist() == [-1, -2]


ENCODER = CLIPTextModel(text_config(TOKENIZER, width=4, layers=1, heads=1))


@given(st.lists(st.integers(0, 225), min_size=1, max_size=3))
def test_no_token_is_lost_and_every_part_has_its_ends(counts):
    prompts = ["view " * count for count in counts]
    tokens = clip_tokens(TOKENIZER, prompts, ENCODER)
    parts = max(1, -(-max(counts) // 75))
    assert tokens.shape == (len(counts), parts, 77)
    (view,) = TOKENIZER("view", add_special_tokens=False).input_ids
    assert (tokens == view).sum(dim=(1, 2)).tolist() == counts
    assert (tokens[..., 0] == TOKENIZER.bos_token_id).all()
    assert (tokens == TOKENIZER.eos_token_id).any(dim=-1).all()
