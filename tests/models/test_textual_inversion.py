"""Vectors for a trigger are learnt, resumed, written, and read by others and in stacks as they were learnt."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from data_contracts.faults import InputFault
from data_contracts.generation import GenerateRequest, NamedLora, Variant
from data_contracts.project_file import load_project
from data_contracts.training import TrainSettings
from flows.checks.memory_faults import trainer_faults
from models.diffusion import sd15, sdxl
from models.diffusion.generate import generate
from models.diffusion.key_formats import KEY_FORMATS, no_embedding
from models.diffusion.lora_stack import adapters_off, add_lora, set_lora_weights
from models.diffusion.textual_inversion import WordTable, add_embedding, initial_vectors, speak
from models.diffusion.vocabulary import clip_tokenizer, text_config
from models.trainers.examples import prepare
from models.trainers.step import Adapter, Trainer
from tests.models.family_runs import as_killed_after_the_first_checkpoint, left_by, tiny_examples, train_in
from tests.random_base import make_random_base
from tests.random_sdxl import make_random_sdxl, small_tokenizer
from tests.small_project import CONFIG

VECTORS = {"embedding_vectors": 3, "embedding_init": "a view", "embedding_learning_rate": 1e-2}
PROMPT = "{} in a harbour, running"
CALL = "<luca>"
TOKENIZER = small_tokenizer()


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-words", tokenizer=TOKENIZER)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list:
    return tiny_examples(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def run(base, examples, tmp_path_factory) -> Path:
    """A LoRA and its embedding, by a training that nobody disturbed; what is kept is an average."""
    folder = tmp_path_factory.mktemp("together")
    train_in(folder, base, examples, **VECTORS, ema=0.5)
    return folder


@pytest.fixture
def model(base) -> sd15.StableDiffusion:
    return sd15.load(base, device="cpu")


def read(model, prompt: str) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(model.encode_prompts([prompt]))


def test_vectors_leave_their_initial_words_and_keep_their_lengths(run, model):
    start = initial_vectors(model.tokenizer, model.text_encoder, "a view", 3)
    weight = model.text_encoder.get_input_embeddings().weight
    known = [weight[model.tokenizer(word).input_ids[1]] for word in ("a", "view")]
    assert torch.equal(start, torch.stack([known[0], known[0], known[1]]))
    vectors = load_file(run / "checkpoints/step-000004/weights.safetensors")["text_encoder/embedding"]
    torch.testing.assert_close(vectors.norm(dim=1), start.norm(dim=1))
    assert ((vectors - start).norm(dim=1) / start.norm(dim=1)).min() > 0.01
    assert not torch.equal(vectors[0], vectors[1])
    average = load_file(run / "checkpoints/step-000004/average.safetensors")["text_encoder/embedding"]
    assert torch.equal(load_file(run / "lora_emb.safetensors")["emb_params"], average)


def test_the_file_says_what_it_is(run):
    with safe_open(run / "lora_emb.safetensors", "pt") as file:
        about = file.metadata()
    assert about["reel2lora.trigger"] == about["modelspec.trigger_phrase"] == "luca"
    assert about["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert not {key for key in about if key.startswith("ss_network_")}
    assert json.loads(about["reel2lora.settings"])["embedding_vectors"] == 3


def test_a_killed_training_goes_on_to_the_same_bytes(run, base, examples, tmp_path):
    killed = as_killed_after_the_first_checkpoint(run, tmp_path / "killed")
    train_in(killed, base, examples, **VECTORS, ema=0.5)
    assert left_by(killed) == left_by(run)


def test_diffusers_reads_the_file_as_it_was_learnt(run, base, model):
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipeline.load_textual_inversion(str(run), weight_name="lora_emb.safetensors", token=CALL)
    theirs, _ = pipeline.encode_prompt(PROMPT.format(CALL), "cpu", 1, do_classifier_free_guidance=False)
    plain = read(model, PROMPT.format("luca"))["states"]
    add_embedding(model, run / "lora_emb.safetensors", "boy")
    add_lora(model, run / "lora.safetensors", "boy")
    for weights, expected in (({"boy": 0.0}, plain), ({}, plain), ({"boy": 0.3}, theirs)):
        set_lora_weights(model, weights)
        torch.testing.assert_close(read(model, PROMPT.format("Luca"))["states"], expected, rtol=0, atol=1e-6)
    with adapters_off(model.unet, model.text_encoder):
        assert torch.equal(read(model, PROMPT.format("luca"))["states"], plain)
    assert (theirs - plain).abs().max() > 1e-2


def test_an_embedding_alone_is_learnt_and_the_base_reads_plain_words(base, examples, model, tmp_path):
    train_in(tmp_path, base, examples, **VECTORS, rank=0, steps=1, warmup_steps=0, sample_every=0)
    assert not (tmp_path / "lora.safetensors").exists()
    plain = read(model, "luca")["states"]
    config = TrainSettings.model_validate({**VECTORS, "rank": 0, "resolution": 64, "masked_loss": True})
    trainer = Trainer(Adapter(model, config, "luca"), prepare(model, examples, config), config)
    assert len(trainer.parameters) == 1
    batch = trainer._readings.of(type("Batch", (), {"captions": ["luca"], "indices": [0]}))
    assert torch.equal(batch["states"], plain)
    assert not torch.equal(read(model, "luca")["states"], plain)
    request = GenerateRequest(
        base=base,
        loras=(NamedLora(name="alone", embedding=tmp_path / "lora_emb.safetensors"),),
        variants=(Variant(name="without"), Variant(name="with", weights={"alone": 0.5})),
        prompts=("luca", "a view"),
        seeds=1,
        steps=2,
        size=64,
        output=tmp_path / "pictures",
        threads=1,
    )
    (tmp_path / "generate.json").write_text(request.model_dump_json())
    generate(tmp_path / "generate.json")
    drawn = {path.stem: path.read_bytes() for path in request.output.iterdir()}
    assert drawn["with-00-1"] != drawn["without-00-1"]
    assert drawn["with-01-1"] == drawn["without-01-1"]
    with pytest.raises(ValidationError, match="neither a file nor an embedding"):
        NamedLora(name="alone")


def test_sdxl_learns_for_both_text_encoders_as_diffusers_reads_them(tmp_path, examples):
    base = make_random_sdxl(tmp_path / "base")
    train_in(tmp_path / "run", base, examples, **VECTORS, masked_prior=0.0, steps=1, warmup_steps=0, sample_every=0)
    vectors = load_file(tmp_path / "run/lora_emb.safetensors")
    assert {key: tuple(value.shape) for key, value in vectors.items()} == {"clip_l": (3, 16), "clip_g": (3, 24)}
    pipeline = StableDiffusionXLPipeline.from_pretrained(base)
    encoders = {"clip_l": pipeline.text_encoder, "clip_g": pipeline.text_encoder_2}
    for (key, encoder), tokenizer in zip(encoders.items(), (pipeline.tokenizer, pipeline.tokenizer_2), strict=True):
        pipeline.load_textual_inversion(vectors[key], token=CALL, text_encoder=encoder, tokenizer=tokenizer)
    theirs, _, pooled, _ = pipeline.encode_prompt(PROMPT.format(CALL), device="cpu")
    model = sdxl.load(base, device="cpu")
    add_embedding(model, tmp_path / "run/lora_emb.safetensors", "luca")
    set_lora_weights(model, {"luca": 0.5})
    ours = read(model, PROMPT.format("luca"))
    torch.testing.assert_close(ours["states"], theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours["pooled"], pooled, rtol=0, atol=1e-5)


def test_where_the_largest_id_is_taken_for_a_prompts_end_it_still_is():
    """As in SDXL's own configuration, whose `eos_token_id` is 2."""
    tokenizer = clip_tokenizer()
    pooled = []
    for end in (2, tokenizer.eos_token_id):
        config = text_config(tokenizer, 16, layers=1, heads=2)
        config.eos_token_id = end
        torch.manual_seed(0)
        encoder = CLIPTextModel(config).eval()
        table = WordTable(encoder.get_input_embeddings())
        encoder.set_input_embeddings(table)
        table.add("x", "luca", torch.ones(2, 16))
        speak(["x"], encoder)
        said = table.said(tokenizer, "luca runs")
        assert len(said) == len(tokenizer("luca runs").input_ids) + 1
        pooled.append(encoder(torch.tensor([said])).pooler_output)
    assert torch.equal(*pooled)


@given(st.lists(st.sampled_from(["luca", "LUCA", "lucas", "giluca", "boy", "gia", "gia  Running", ",", "luca's", "!"])))
def test_triggers_are_whole_words_and_all_else_stays(words):
    table = WordTable(torch.nn.Embedding(len(TOKENIZER), 4))
    table.add("luca", "luca", torch.ones(3, 4))
    table.add("gia", "gia", torch.ones(1, 4))
    table.add("run", "gia running", torch.ones(2, 4))
    prompt = " ".join(words)
    tokens = TOKENIZER(prompt).input_ids
    assert table.said(TOKENIZER, prompt) == tokens
    table.spoken = frozenset({"luca", "run"})
    said = table.said(TOKENIZER, prompt)
    assert said.count(-1) == sum(word in {"luca", "LUCA", "luca's"} for word in words)
    assert -4 not in said
    for trigger, ids in (("luca", (-1, -2, -3)), ("gia running", (-5, -6))):
        plain = TOKENIZER(trigger, add_special_tokens=False).input_ids
        while ids[0] in said:
            place = said.index(ids[0])
            assert tuple(said[place : place + len(ids)]) == ids
            said[place : place + len(ids)] = plain
    assert said == tokens


def test_punctuation_may_follow_a_trigger_that_ends_in_some():
    table = WordTable(torch.nn.Embedding(len(TOKENIZER), 4))
    table.add("x", "luca (boy)", torch.ones(2, 4))
    table.spoken = frozenset({"x"})
    rest = TOKENIZER(", running", add_special_tokens=False).input_ids
    assert table.said(TOKENIZER, "luca (boy), running")[1:-1] == [-1, -2, *rest]


def test_what_cannot_be_learnt_is_refused_with_what_to_do(base, examples, run, model, tmp_path):
    nameless = [each.model_copy(update={"caption": "a boy"}) for each in examples]
    with pytest.raises(InputFault, match="the trigger 'luca' is in no caption"):
        train_in(tmp_path / "run", base, nameless, **VECTORS)
    assert [name for name, keys in KEY_FORMATS.items() if no_embedding(keys)] == [
        "flux",
        "qwen_image",
        "qwen_image_edit",
    ]
    flux = tmp_path / "flux"
    flux.mkdir()
    (flux / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    project = load_project(CONFIG, {"loras.luca.train.embedding_vectors": "2"})
    (fault,) = trainer_faults(project, flux, ["luca", "happy"])
    assert (fault.place, fault.severity) == ("loras.luca.train", "error")
    assert "FLUX.1 is drawn with text encoders that no program adds words to" in fault.value
    assert trainer_faults(project, base, ["luca"]) == []
    save_file({"emb_params": torch.ones(2, 768)}, tmp_path / "wide.safetensors", {"reel2lora.trigger": "luca"})
    with pytest.raises(InputFault, match=r"vectors of 768 numbers, the base model's text_encoder of 64"):
        add_embedding(model, tmp_path / "wide.safetensors", "luca")
    with pytest.raises(InputFault, match=r"an embedding for SD 1.x \['emb_params'\]: it is for another"):
        add_embedding(model, run / "lora.safetensors", "luca")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "nothing is learnt"),
        ({"rank": 0, "embedding_vectors": 1, "conv_rank": 2}, "so there is no LoRA, but conv_rank is 2"),
        ({"embedding_vectors": 1, "embedding_init": " "}, "it is blank"),
    ],
)
def test_settings_that_learn_nothing_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(values)


def test_captions_leave_room_for_the_vectors():
    project = load_project(CONFIG, {"loras.luca.train.embedding_vectors": "4"})
    assert project.loras["luca"].caption.max_tokens == 74
    assert project.loras["happy"].caption.max_tokens == 77
    changes = {"loras.luca.train.embedding_vectors": "4", "loras.luca.caption.max_tokens": "224"}
    assert load_project(CONFIG, changes).loras["luca"].caption.max_tokens == 224
    with pytest.raises(InputFault, match=r"puts 4 in the trigger's place: set caption.max_tokens: 224 or less"):
        load_project(CONFIG, {**changes, "loras.luca.caption.max_tokens": "225"})


@pytest.fixture(autouse=True)
def _plain_arithmetic():
    """Training asks torch for deterministic algorithms: not for the tests after these."""
    yield
    torch.use_deterministic_algorithms(mode=False)
