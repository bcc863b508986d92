"""A base model as one .safetensors file, by the commands that a user types: checked, captioned for, trained, edited."""

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from data_contracts.dataset import read_rows
from data_contracts.decisions import Decision
from data_contracts.digest import content_of
from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.records import Caption
from data_contracts.results import LoraFile
from flows.build_lora import build_lora
from flows.checks.assembled import assembled_faults
from flows.checks.memory_faults import base_faults
from flows.checks.preflight import look_ahead
from flows.commands.decisions import decisions_of, keep
from flows.commands.doctor import base_state, needs_of
from flows.commands.inspect_runs import latest_run
from flows.main import app
from models.caption.tokens import count_tokens, load_tokenizer
from models.diffusion import tokenizer_folder
from models.diffusion.single_file import CONFIGURATIONS
from tests.models.broken_folders import good_folder
from tests.models.ldm_checkpoint import write_checkpoint, write_configuration
from tests.random_base import make_random_base
from tests.small_project import CONFIG, tiny_project

LORA = "portorosso"
QUICK = {"train.steps": 2, "train.sample_every": 0, "evaluate.steps": 1}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A folder with a tiny checkpoint, and a hub's cache with the configuration of its family."""
    folder = tmp_path_factory.mktemp("published")
    base = make_random_base(folder / "base")
    write_checkpoint(base, folder / "tiny.safetensors")
    write_configuration(base, folder / "hub")
    shutil.rmtree(base)  # nothing is read from there any more
    return folder


@pytest.fixture
def file(published, allowed, monkeypatch) -> Path:
    """The checkpoint, of which this process and its children find the configuration."""
    monkeypatch.setenv("REEL2LORA_ALLOW", os.pathsep.join(map(str, (allowed, published))))
    monkeypatch.setenv("HF_HUB_CACHE", str(published / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(published / "hub"))
    return published / "tiny.safetensors"


def changes(workspace: Path, file: Path) -> dict[str, str]:
    quick = {f"loras.{LORA}.{key}": str(value) for key, value in QUICK.items()}
    return {**tiny_project(workspace), **quick, "base": str(file)}


def typed(given: dict[str, str], *arguments: str):
    options = [text for key, value in given.items() for text in ("--set", f"{key}={value}")]
    return CliRunner().invoke(app, [arguments[0], str(CONFIG), *arguments[1:], *options], env={"COLUMNS": "240"})


@pytest.mark.slow
def test_it_is_checked_captioned_for_and_trained(file, allowed):
    given, workspace = changes(allowed / "work", file), allowed / "work"
    checked = typed(given, "preflight", "--lora", LORA)
    assert f"ready: {LORA}; training takes about" in checked.output, checked.exception
    build_lora.fn(CONFIG, LORA, given)
    used = {use.stage: workspace / use.key for use in latest_run(workspace).stages}
    (lora,) = read_rows(used["train_lora"] / "records.parquet", LoraFile)
    assert lora.family == "sd15"
    with safe_open(used["train_lora"] / "files" / lora.weights, "pt") as weights:
        assert weights.metadata()["ss_sd_model_name"] == "tiny.safetensors"
        assert all(weights.get_tensor(key).isfinite().all() for key in weights.keys())  # noqa: SIM118
    tokenizer = load_tokenizer(tokenizer_folder(file))
    captions = read_rows(used["caption_images"] / "records.parquet", Caption)
    assert [caption.tokens for caption in captions] == [count_tokens(tokenizer, each.text) for each in captions]
    manifests = "".join((folder / "manifest.json").read_text() for folder in used.values())
    assert str(allowed) not in manifests
    assert str(file.parent) not in manifests
    again = typed(given, "preflight", "--lora", LORA)
    assert f"data sets checked: {LORA}" in again.output, again.exception


def test_the_same_tokenizer_in_another_cache_is_the_same_to_digests(file, tmp_path, monkeypatch):
    one = tokenizer_folder(file)
    shutil.copytree(file.parent / "hub", tmp_path / "elsewhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    other = tokenizer_folder(file)
    assert one != other
    assert content_of(one) == content_of(other)
    (other / "merges.txt").write_text("#version: 0.2\n")
    assert content_of(one) != content_of(other)


def test_captions_by_hand_are_counted_in_its_tokens(file, allowed):
    project = load_project(CONFIG, changes(allowed / "work", file))
    row = Decision(film="harbour", frame=1, box=(0, 0, 8, 8), verdict="caption", caption="luca by the harbour")
    keep(project, LORA, {("harbour", 1, row.box): row})
    (kept,) = decisions_of(project, LORA)
    assert kept.tokens == count_tokens(load_tokenizer(tokenizer_folder(file)), row.caption) > 2
    too_long = row.model_copy(update={"caption": "sea " * 80})
    with pytest.raises(InputFault, match="82 tokens, 77 fit"):
        keep(project, LORA, {("harbour", 1, row.box): too_long})
    assert assembled_faults(project, file, [LORA]) == ([], [])


def test_a_data_set_is_linted_by_its_tokenizer(file, tmp_path):
    folder = good_folder(tmp_path / "set")
    found = tmp_path / "faults.json"
    options = ["--trigger", "luca", "--base", str(file), "--tokens", "3", "--json", str(found)]
    result = CliRunner().invoke(app, ["lint", str(folder), *options])
    assert isinstance(result.exception, InputFault)
    assert "tokens" in {row["rule"].rpartition("_")[2] for row in json.loads(found.read_text())}


def test_without_its_configuration_one_line_says_how_it_is_fetched(file, allowed, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(allowed / "empty"))
    project = load_project(CONFIG, changes(allowed / "work", file))
    (fault,) = [each for each in look_ahead(project, [LORA]).faults if each.place == "base"]
    assert (fault.rule, fault.severity) == ("base", "error")
    assert "`hf download stable-diffusion-v1-5/stable-diffusion-v1-5 model_index.json" in fault.value
    assert str(file.parent) not in str(fault)


def test_a_file_that_is_no_base_model_is_refused(tmp_path):
    pickled = tmp_path / "base.ckpt"
    pickled.write_bytes(b"")
    (fault,) = base_faults(pickled)
    assert fault.value.startswith("base model 'base.ckpt': give a diffusers folder or a .safetensors file")


def test_doctor_fetches_its_configuration(file, allowed, tmp_path, monkeypatch):
    project = load_project(CONFIG, changes(allowed / "work", file))
    assert CONFIGURATIONS["sd15"] in list(needs_of(project))
    assert base_state(project) == ("tiny.safetensors", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    name, trouble = base_state(project)
    assert name == "tiny.safetensors"
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5 model_index.json" in trouble
