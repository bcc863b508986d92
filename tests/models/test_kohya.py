"""kohya's trainer without sd-scripts: what they are told, and of which base model."""

import json
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.pictures import encode_png, read_rgba
from models.trainers import TRAINERS, kohya_base
from models.trainers import kohya_config as config
from models.trainers.examples import cut, sizes_of
from models.trainers.kohya import train
from models.trainers.kohya_dataset import write_dataset
from models.weights import MissingWeights
from tests.models.ldm_checkpoint import write_checkpoint
from tests.random_base import make_random_base
from tests.small_project import CONFIG


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.mktemp("kohya") / "base")


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> tuple[TrainExample, ...]:
    """Three pictures with masks; they are shown once, twice and three times."""
    folder = tmp_path_factory.mktemp("examples")
    made = []
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (64, 80, 3), dtype=np.uint8)
        paths = folder / f"{number}.png", folder / f"{number}-mask.png"
        paths[0].write_bytes(encode_png(picture))
        paths[1].write_bytes(encode_png(np.full((64, 80), 100 + number, np.uint8)))
        made.append(TrainExample(image=paths[0], mask=paths[1], caption=f"luca, view {number}", repeats=1 + number))
    return tuple(made)


def asked(base: Path, examples: Iterable[TrainExample], output: Path, **changes: object) -> TrainRequest:
    values = {"steps": 40, "warmup_steps": 4, "resolution": 64, "batch": 2, "sample_prompts": ["{trigger}"], **changes}
    return TrainRequest(
        name="luca",
        trigger="luca",
        base=base,
        examples=tuple(examples),
        output=output,
        settings=TrainSettings.model_validate(values),
    )


def told(request: TrainRequest, root: Path) -> str:
    """Return all that sd-scripts are told."""
    places = config.Places(root)
    root.mkdir(exist_ok=True)
    shutil.rmtree(places.dataset, ignore_errors=True)
    places.dataset.mkdir()
    write_dataset(request, places.dataset)
    config.write_prompts(request, places)
    options = config.configuration(request, request.base, places)
    toml = (places.dataset / "dataset.toml").read_text()
    return "".join([config.toml_text(options), toml, places.prompts.read_text()])


START = {"resolution": 64, "sample_every": 10, "conv_rank": 4, "masked_loss": True, "masked_prior": 0.0}
OTHER = {
    "rank": 8,
    "alpha": 2.0,
    "conv_rank": 8,
    "conv_alpha": 2.0,
    "learning_rate": 0.5,
    "text_encoder_learning_rate": 0.0,
    "steps": 50,
    "batch": 3,
    "accumulate": 3,
    "resolution": 128,
    "buckets": True,
    "scheduler": "constant",
    "cycles": 2,
    "warmup_steps": 0,
    "weight_decay": 0.5,
    "max_gradient_norm": 0.0,
    "min_snr_gamma": 0.0,
    "noise_offset": 0.0,
    "caption_dropout": 0.5,
    "caption_tag_dropout": 0.5,
    "masked_loss": False,
    "masked_prior": 0.5,
    "optimizer": "adamw8bit",
    "precision": "bfloat16",
    "gradient_checkpointing": True,
    "seed": 5,
    "clip_skip": 2,
    "checkpoint_every": 20,
    "sample_every": 0,
    "sample_prompts": ["{trigger}, asleep"],
    "sample_steps": 3,
    "sample_guidance": 1.0,
}


FLOW_MATCHING = {"timestep_sampling", "timestep_shift"}  # nothing to Stable Diffusion 1.x
VALIDATION = {"validate_every", "validate_pictures", "choose", "patience"}  # with kohya refused where they would decide
VALIDATION |= {"validate_drawn", "drawn_embedder", "drawn_text_scorer"}
REFUSED = {
    "processes",
    "dora",
    "ema",
    "compile",
    "blank_preservation",
    "embedding_vectors",
    "embedding_init",
    "embedding_learning_rate",
}
BESIDE = {"tensorboard"}  # made of our own logs


def test_every_setting_changes_what_sd_scripts_are_told(base, examples, tmp_path):
    """A setting that went nowhere would be a promise not kept."""
    known = set(OTHER) | FLOW_MATCHING | VALIDATION | REFUSED | BESIDE
    assert known == set(TrainSettings.model_fields)  # a new one has to be told them, or refused
    before = told(asked(base, examples, tmp_path, **START), tmp_path / "told")
    for name, value in OTHER.items():
        request = asked(base, examples, tmp_path, **{**START, name: value})
        if name == "masked_prior":
            with pytest.raises(InputFault, match=r"masked_prior is 0\.5, .* `trainer: native`"):
                told(request, tmp_path / "told")
        else:
            assert told(request, tmp_path / "told") != before, name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "nf4"}, "precision is nf4"),
        ({"choose": "best"}, "choose is 'best' and patience 0"),
        ({"patience": 2}, "choose is 'last' and patience 2"),
        ({"dora": True}, "dora is on"),
        ({"ema": 0.9}, "ema is 0.9"),
        ({"compile": True}, "compile is on"),
        ({"processes": 2, "accumulate": 2}, "processes is 2"),
        ({"blank_preservation": True}, "blank_preservation is on"),
        ({"embedding_vectors": 2}, "embedding_vectors is 2"),
    ],
)
def test_what_sd_scripts_have_no_equal_of_is_refused(changes, words, base):
    values = TrainSettings.model_validate({"masked_loss": False, **changes})
    with pytest.raises(InputFault, match=rf"{words}.* `trainer: native`"):
        config.require_possible(base, values)


@given(run=st.tuples(st.integers(1, 5000), st.integers(1, 8), st.integers(1, 5), st.integers(1, 900)))
@settings(max_examples=25, deadline=None)
def test_one_epoch_lasts_for_the_whole_run_and_states_can_be_gone_on_from(base, examples, tmp_path_factory, run):
    steps, batch, accumulate, checkpoint = run
    changes = {"warmup_steps": 0, "steps": steps, "batch": batch, "accumulate": accumulate}
    request = asked(base, examples, Path("x"), **changes, checkpoint_every=checkpoint)
    folder = tmp_path_factory.mktemp("epoch")
    write_dataset(request, folder)
    (dataset,) = tomllib.loads((folder / "dataset.toml").read_text())["datasets"]
    shown = sum(subset["num_repeats"] for subset in dataset["subsets"])  # one picture a subset
    assert steps * batch * accumulate <= shown < steps * batch * accumulate + 6
    assert [subset["num_repeats"] * 6 // shown for subset in dataset["subsets"]] == [1, 2, 3]
    every = config.checkpoint_steps(request.settings)
    assert every % accumulate == 0
    assert 0 <= every - checkpoint < accumulate
    # what sd-scripts make of it: steps to skip = initial_step * accumulate, from which on they count
    options = config.resumption(request.settings, Path("state"), every)
    assert options["initial_step"] * accumulate == every


def test_masks_are_the_pictures_alpha_and_only_where_they_count(base, examples, tmp_path):
    for masked in (True, False):
        folder = tmp_path / str(masked)
        folder.mkdir()
        write_dataset(asked(base, examples, tmp_path, masked_loss=masked, masked_prior=0.0), folder)
        (dataset,) = tomllib.loads((folder / "dataset.toml").read_text())["datasets"]
        alphas = sorted(int(read_rgba(path)[..., 3].max()) for path in folder.rglob("*.png"))
        assert alphas == ([100, 101, 102] if masked else [255] * 3)
        assert {subset.get("alpha_mask", False) for subset in dataset["subsets"]} == {masked}
        assert dataset["enable_bucket"] is False  # 64x80: the centre square, as the native trainer takes it


@pytest.mark.parametrize(("trigger", "parts"), [("luca", 1), ("luca, the boy", 2), ("", 1)])
def test_the_trigger_stays_where_parts_of_captions_are_left_out(trigger, parts, base, examples, tmp_path):
    write_dataset(asked(base, examples, tmp_path).model_copy(update={"trigger": trigger}), tmp_path)
    (dataset,) = tomllib.loads((tmp_path / "dataset.toml").read_text())["datasets"]
    assert {subset["keep_tokens"] for subset in dataset["subsets"]} == {parts}


def test_pictures_are_written_as_native_cuts_them(base, examples, tmp_path):
    """80x64: the centre square, or the bucket of the nearest shape; small buckets are data sets of their own."""
    found = {}
    for bucketed, resolution in ((False, 64), (True, 64), (True, 512)):
        folder = tmp_path / f"{bucketed}-{resolution}"
        folder.mkdir()
        request = asked(base, examples, tmp_path, buckets=bucketed, resolution=resolution)
        write_dataset(request, folder)
        (dataset,) = tomllib.loads((folder / "dataset.toml").read_text())["datasets"]
        shapes = {read_rgba(path).shape[:2] for path in folder.rglob("*.png")}
        assert shapes == {cut(each, sizes_of(request.settings, 8), masked=False).picture.shape[:2] for each in examples}
        assert not [path for path in tmp_path.iterdir() if path.is_dir() and path != folder and path.name not in found]
        found[folder.name] = shapes.pop(), dataset["resolution"], dataset["enable_bucket"]
    assert found == {
        "False-64": ((64, 64), 64, False),
        "True-64": ((56, 72), [72, 56], False),
        "True-512": ((448, 576), 512, True),
    }


def test_a_base_of_other_noise_or_kind_is_refused(base, examples, tmp_path):
    other = tmp_path / "base"
    make_random_base(other)
    scheduler = other / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.012", "0.02"))
    with pytest.raises(InputFault, match=r"beta_end 0\.02, sd-scripts always 0\.012"):
        told(asked(other, examples, tmp_path), tmp_path / "told")
    (other / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(InputFault, match="of the family flux; trainer kohya knows"):
        kohya_base.prepare_base(other, tmp_path / "view")
    file = write_checkpoint(base, tmp_path / "base.safetensors")
    with pytest.raises(InputFault, match=r"a checkpoint of sd15; trainer kohya knows .* `trainer: native`"):
        kohya_base.prepare_base(file, tmp_path / "view")


def test_the_base_is_written_in_the_names_and_files_of_transformers_4(base, tmp_path):
    view = kohya_base.prepare_base(base, tmp_path / "view")
    ours, theirs = (load_file(folder / "text_encoder" / "model.safetensors") for folder in (base, view))
    assert set(theirs) == {f"text_model.{key}" for key in ours}
    assert all(torch.equal(theirs[f"text_model.{key}"], value) for key, value in ours.items())
    assert kohya_base.prepare_base(view, tmp_path / "again") == view
    kohya_base.prepare_tokenizer(base, tmp_path / "cache")
    folder = tmp_path / "cache" / "openai_clip-vit-large-patch14"
    assert not (folder / "tokenizer.json").exists()
    vocabulary, merges = json.loads((folder / "vocab.json").read_text()), (folder / "merges.txt").read_text()
    reader = CLIPTokenizer.from_pretrained(base / "tokenizer")
    assert vocabulary == reader.get_vocab()
    rebuilt = CLIPTokenizer(vocabulary, [tuple(line.split(" ")) for line in merges.splitlines()[1:]])
    assert rebuilt.tokenize("luca by the harbour") == reader.tokenize("luca by the harbour")


def test_captions_are_read_in_as_many_parts_as_the_longest_needs_and_never_cut(base):
    assert kohya_base.longest_text(base / "tokenizer", ["sea", "sea " * 225, "sea " * 76]) == 227
    assert [config.token_length(count) for count in (3, 77, 78, 152, 153, 227)] == [
        {},
        {},
        *[{"max_token_length": 150}] * 2,
        *[{"max_token_length": 225}] * 2,
    ]
    with pytest.raises(InputFault, match="228 tokens, ends included; 227 are read"):
        kohya_base.longest_text(base / "tokenizer", ["sea " * 226])


def test_without_sd_scripts_the_remedy_is_named(base, examples, tmp_path, monkeypatch):
    monkeypatch.setenv("REEL2LORA_KOHYA", str(tmp_path))
    with pytest.raises(MissingWeights, match="git submodule update --init vendor/sd-scripts"):
        TRAINERS.load("kohya")
    (tmp_path / "train_network.py").touch()
    monkeypatch.setenv("REEL2LORA_KOHYA_ENV", str(tmp_path / "env"))
    with pytest.raises(MissingWeights, match="reel2lora doctor --setup kohya"):
        TRAINERS.load("kohya")
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "reel2lora.json").write_text('{"torch": "1.0"}')
    path = tmp_path / "request.json"
    path.write_text(asked(base, examples, tmp_path).model_dump_json())
    with pytest.raises(MissingWeights, match="other versions than are pinned"):
        train(path)


def test_a_project_chooses_its_trainer():
    chosen = {"loras.luca.train.trainer": "kohya", "loras.luca.train.steps": "70"}
    plan = load_project(CONFIG, chosen).loras["luca"].train
    assert (plan.trainer, plan.settings.steps) == ("kohya", 70)
    assert load_project(CONFIG).loras["luca"].train.trainer == "native"
    with pytest.raises(InputFault, match=r"loras\.luca\.train\.trainer = 'other'"):
        load_project(CONFIG, {"loras.luca.train.trainer": "other"})
