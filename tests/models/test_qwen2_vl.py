"""Qwen2-VL, 2.5-VL and 3-VL as they are loaded from the hub's folders, with tiny networks of the same classes."""

import json
import re

import numpy as np
import pytest
import torch
from transformers.quantizers.quantizers_utils import should_convert_module

from models.caption import CAPTIONERS, FOUR_BIT, QWEN
from models.caption.answers import UnreadableAnswer
from models.caption.questions import question_of
from models.caption.qwen2_vl import MAX_TOKENS, MIN_TOKENS, UNQUANTISED, Qwen2VL
from models.caption.template import Facts
from models.weights import MissingWeights
from tests.models.tiny_networks import hub_folder
from tests.models.tiny_qwen import KINDS, save_qwen

ANSWER = {"action": "leaning on a wall", "expression": "happy", "place": "on a pier", "details": ["a red ball in hand"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen")
    return {kind: save_qwen(folder / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def crops():
    random = np.random.default_rng(0)
    return [random.integers(0, 255, size, dtype=np.uint8) for size in ((50, 90, 3), (300, 200, 3))]


@pytest.mark.parametrize("kind", KINDS)
def test_two_pictures_of_different_size_are_captioned_at_once(kind, crops, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = {"qwen2_vl": "qwen2-vl-7b", "qwen2_5_vl": "qwen2.5-vl-7b", "qwen3_vl": "qwen3-vl-8b"}[kind]
    folder = save_qwen(hub_folder(tmp_path, QWEN[name]), kind, json.dumps(ANSWER))
    for file in QWEN[name].files:  # tiny weights need no shards
        (folder / file).touch()
    captioner = CAPTIONERS.load(name, None, None)
    assert captioner.looks
    first, second = captioner.describe(crops, [Facts(), Facts(action="running", size="full")], "character")
    assert first == Facts("", "leaning on a wall", "happy", "on a pier", "", "", ("a red ball in hand",))
    assert second == Facts("", "running", "happy", "on a pier", "full", "", ("a red ball in hand",))
    captioner.release()


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_does_not_depend_on_what_is_asked_beside_it(kind, folders, crops):
    network = Qwen2VL(folders[kind])
    questions = [question_of("character", Facts()), question_of("pose", Facts(who="a boy", place="on a beach"))]
    for attempt in (0, 1):
        together = network.answer(crops, questions, attempt)
        alone = [network.answer([c], [q], attempt)[0] for c, q in zip(crops, questions, strict=True)]
        assert together == alone
        assert all(together)


def test_what_is_random_is_the_same_again_and_leaves_no_trace(folders, crops):
    network = Qwen2VL(folders["qwen2_vl"])
    question = question_of("background", Facts())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    answers = [network.answer(crops[:1], [question], attempt) for attempt in (0, 1, 2, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert answers[1] == answers[3]
    assert len({answer for (answer,) in answers[:3]}) == 3


def test_the_picture_is_looked_at(folders, crops):
    network = Qwen2VL(folders["qwen2_5_vl"])
    question = question_of("background", Facts())
    darker = (crops[0] // 4).astype(np.uint8)
    first, second = network.answer([crops[0], darker], [question, question], 0)
    assert first != second


def test_babble_is_asked_for_again_and_then_refused(folders, crops):
    facts = Qwen2VL(folders["qwen2_vl"]).describe(crops, [Facts()] * 2, "background")
    assert all(isinstance(fault, UnreadableAnswer) for fault in facts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(24, 24), (40, 700), (720, 720), (2160, 2160)])
def test_a_picture_becomes_a_limited_number_of_tokens(kind, size, folders):
    network = Qwen2VL(folders[kind])
    network._network = network._load()
    inputs = network._inputs([np.zeros((*size, 3), np.uint8)], [question_of("background", Facts())])
    tokens = int((inputs["input_ids"] == network._mark).sum())
    assert tokens == int(inputs["image_grid_thw"].prod()) // 4
    assert MIN_TOKENS <= tokens <= MAX_TOKENS
    assert int(inputs["mm_token_type_ids"].sum()) == tokens


def test_nothing_is_loaded_before_the_first_picture(folders):
    captioner = Qwen2VL(folders["qwen2_vl"])
    assert captioner._network is None
    captioner.release()
    assert captioner.describe([], [], "character") == []
    assert captioner._network is None


@pytest.mark.parametrize("kind", KINDS)
def test_at_four_bits_only_the_language_half_is_quantised(kind, folders):
    network = Qwen2VL(folders[kind])._load()
    linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    quantised = [name for name in linear if should_convert_module(name, list(UNQUANTISED))]
    assert quantised == [name for name in linear if name.startswith("model.language_model.layers.")]
    assert len(quantised) == 14


def test_four_bits_need_bitsandbytes_and_the_same_weights():
    for name in FOUR_BIT:
        assert CAPTIONERS[f"{name}-4bit"].needs[0] is QWEN[name]
        assert CAPTIONERS[f"{name}-4bit"].needs[1].name == "bitsandbytes"


def test_all_pins_are_commits_and_all_shards_are_named():
    for name, weights in QWEN.items():
        assert re.fullmatch(r"[0-9a-f]{40}", weights.revision), name
        shards = [file for file in weights.files if file.endswith(".safetensors")]
        assert len(shards) == 1 or shards[-1].endswith(f"-{len(shards):05}-of-{len(shards):05}.safetensors")
    assert len({weights.revision for weights in QWEN.values()}) == len(QWEN)


def test_another_network_is_refused(folders, tmp_path):
    config = json.loads((folders["qwen2_vl"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "llava"}))
    with pytest.raises(MissingWeights, match="is a 'llava'; known are qwen2_vl, qwen2_5_vl, qwen3_vl"):
        Qwen2VL(tmp_path)


def test_a_folder_without_a_chat_template_is_refused(tmp_path):
    folder = save_qwen(tmp_path / "tiny")
    (folder / "chat_template.json").unlink()
    with pytest.raises(MissingWeights, match="tiny has no chat template"):
        Qwen2VL(folder)
