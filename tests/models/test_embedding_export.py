"""Embeddings go out beside their LoRAs, and what other programs are told calls them."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from data_contracts.faults import InputFault
from data_contracts.generation import Variant
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.key_formats import KEY_FORMATS
from models.diffusion.lora_file import load_kohya
from models.diffusion.lora_stack import add_lora
from models.diffusion.stacking import Batch, sample_stacked
from models.diffusion.textual_inversion import TRIGGER, add_embedding, save_embedding
from models.exports.lora_folder import export_release
from models.exports.lora_release import Release, ReleasedLora
from tests.models.lora_releases import SAMPLING, WEIGHTS, release_of
from tests.random_base import make_random_base
from tests.random_sdxl import make_random_sdxl, small_tokenizer

WIDTHS = {"sd15": (64,), "sdxl": (16, 24)}


def with_embedding(folder: Path, each: ReleasedLora, *, alone: bool = False) -> ReleasedLora:
    """Return a LoRA with two vectors for its trigger, or these alone."""
    keys, generator = KEY_FORMATS[each.lora.family], torch.Generator().manual_seed(5)
    widths = zip(keys.embedding_keys, WIDTHS[each.lora.family], strict=True)
    vectors = {name: 0.1 * torch.randn((2, width), generator=generator) for name, width in widths}
    path = folder / f"{each.name}-embedding.safetensors"
    save_embedding(path, vectors, {TRIGGER: each.lora.trigger, "ss_sd_model_name": "my-base"}, keys)
    return replace(each, embedding=path, file=None if alone else each.file)


@pytest.fixture
def release(tmp_path) -> Release:
    """Luca with an embedding, the town without one, running as an embedding alone."""
    plain = release_of(tmp_path, "sd15", prompt="luca (boy), run (boy), in town (boy)")
    luca, town, run = plain.loras
    return replace(plain, loras=(with_embedding(tmp_path, luca), town, with_embedding(tmp_path, run, alone=True)))


def drawn_by(script: Path, base: Path) -> np.ndarray:
    script.write_text(script.read_text().replace("'my-base'", repr(str(base))))
    runpy.run_path(str(script))
    return np.asarray(Image.open(script.with_suffix(".png"))).astype(int)


def test_the_folder_has_files_and_words_for_every_program(release, tmp_path):
    merged = export_release(release, tmp_path / "out")
    out = tmp_path / "out"
    assert {path.name for path in out.glob("*.safetensors")} == {
        f"{name}.safetensors" for name in ("luca", "luca_emb", "town", "run_emb", "film-stack")
    }
    assert json.loads(load_kohya(out / "film-stack.safetensors").metadata["reel2lora.merged"]).keys() == {
        "luca",
        "town",
    }
    assert merged is not None
    written, learnt = (load_file(path) for path in (out / "luca_emb.safetensors", release.loras[0].embedding))
    assert torch.equal(written["emb_params"], learnt["emb_params"])
    prompts = (out / "a1111_prompts.txt").read_text()
    assert r"luca_emb, run_emb, in town \(boy\) <lora:luca:1> <lora:town:0.8>" in prompts
    assert "# run alone\n\nrun_emb\n" in prompts
    assert json.loads((out / "luca.json").read_text())["activation text"] == "luca_emb"
    assert not (out / "run.json").exists()
    nodes = json.loads((out / "comfyui_api.json").read_text()).values()
    said = [node["inputs"]["text"] for node in nodes if node["class_type"] == "CLIPTextEncode"]
    assert said[0] == r"embedding:luca_emb, embedding:run_emb, in town \(boy\)"
    assert sorted(node["inputs"]["lora_name"] for node in nodes if node["class_type"] == "LoraLoader") == [
        "luca.safetensors",
        "town.safetensors",
    ]
    card = (out / "README.md").read_text()
    assert "| `luca (boy)` | 1 | luca.safetensors, luca_emb.safetensors |" in card
    assert "| `run (boy)` | 0.75 | run_emb.safetensors |" in card
    assert "`embedding:luca_emb` in\nComfyUI, `<luca_emb>` in diffusers" in card
    assert "those ending in `_emb` into `models/embeddings`" in card


def test_the_script_draws_what_this_project_draws(release, tmp_path):
    base = make_random_base(tmp_path / "base", tokenizer=small_tokenizer())
    export_release(release, tmp_path / "out")
    picture = drawn_by(tmp_path / "out" / "diffusers_example.py", base)
    model = load_base(base, device="cpu")
    for each in release.loras:
        if each.file:
            add_lora(model, each.file, each.name)
    batch, drawing = Batch([release.prompt], SAMPLING.negative_prompt, [3]), Drawing(2, 4.0, 64)
    loras = {name: weight for name, weight in WEIGHTS.items() if name != "run"}
    (words,) = sample_stacked(model, Variant(name="words", weights=loras), batch, drawing)
    for each in release.embeddings:
        add_embedding(model, each.embedding, each.name)
    (ours,) = sample_stacked(model, Variant(name="stack", weights=WEIGHTS), batch, drawing)
    assert np.abs(picture - ours).max() <= 2
    assert np.abs(picture - words).max() > 4


def test_an_embedding_of_sdxl_alone_is_drawn_with_by_the_script(tmp_path):
    plain = release_of(tmp_path, "sdxl", ("luca",), prompt="luca (boy) in a harbour")
    release = replace(plain, loras=(with_embedding(tmp_path, plain.loras[0], alone=True),))
    assert export_release(release, tmp_path / "out") is None
    picture = drawn_by(tmp_path / "out" / "diffusers_example.py", make_random_sdxl(tmp_path / "base"))
    model = load_base(tmp_path / "base", device="cpu")
    add_embedding(model, release.loras[0].embedding, "luca")
    batch = Batch([release.prompt], SAMPLING.negative_prompt, [3])
    (ours,) = sample_stacked(model, Variant(name="luca", weights={"luca": 1.0}), batch, Drawing(2, 4.0, 64))
    assert np.abs(picture - ours).max() <= 2
    assert "LoraLoader" not in (tmp_path / "out" / "comfyui_api.json").read_text()


def test_an_embedding_s_name_is_no_lora_s(release, tmp_path):
    luca, town, _ = release.loras
    loras = luca, replace(town, lora=town.lora.model_copy(update={"name": "luca_emb"}))
    with pytest.raises(InputFault, match="a LoRA is called 'luca_emb', as the embedding of 'luca': rename it"):
        export_release(replace(release, loras=loras), tmp_path / "out")


@given(st.lists(st.sampled_from(["Luca (boy)", "luca", "xluca (boy)", "run (boy)s", "run (boy)", "!", ",", " "])))
def test_only_whole_triggers_are_called_and_calls_stand_apart(tmp_path_factory, parts):
    folder = tmp_path_factory.getbasetemp() / "calls"
    plain = release_of(folder, "sd15", ("luca", "run"))
    release = replace(plain, loras=tuple(replace(each, embedding=folder / "x") for each in plain.loras))
    prompt = " ".join(parts)
    called = release.called(prompt, "embedding:{}".format)
    assert called.count("embedding:luca_emb") == parts.count("Luca (boy)")
    assert called.count("embedding:run_emb") == parts.count("run (boy)")
    assert plain.called(prompt, str) == prompt
    for word in called.split(" "):
        assert word.rstrip(",") in {"embedding:luca_emb", "embedding:run_emb"} or "embedding" not in word
    assert release.called("luca (boy)'s hat", "embedding:{}".format) == "embedding:luca_emb 's hat"
