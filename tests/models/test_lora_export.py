"""Finished LoRAs for other programs: files that keep what they are, a script that draws the same, a card."""

import inspect
import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from data_contracts.faults import InputFault
from data_contracts.generation import Variant
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.lora_file import load_kohya
from models.diffusion.lora_stack import add_lora
from models.diffusion.stacking import Batch, sample_stacked
from models.exports.lora_folder import export_release
from models.exports.lora_header import read_metadata, with_metadata
from models.exports.lora_release import Release, ReleasedLora
from tests.models.lora_releases import LAYERS, SAMPLING, WEIGHTS, release_of, released
from tests.random_base import make_random_base


def test_files_keep_their_tensors_and_tell_more(tmp_path: Path):
    release = release_of(tmp_path, "sd15")
    merged = export_release(release, tmp_path / "out")
    for each in release.loras:
        before, after = load_file(each.file), load_file(tmp_path / "out" / f"{each.name}.safetensors")
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    with safe_open(tmp_path / "out" / "luca.safetensors", "pt") as file:
        about = file.metadata()
    assert about["sshs_model_hash"] == release.loras[0].metadata["sshs_model_hash"]
    assert json.loads(about["ss_tag_frequency"]) == {"10_luca": {"luca (boy)": 2, "running": 1}}
    assert json.loads(about["ss_dataset_dirs"]) == {"10_luca": {"n_repeats": 10, "img_count": 2}}
    assert about["modelspec.usage_hint"] == "luca (boy), at weight 1"
    stack = load_kohya(tmp_path / "out" / "film-stack.safetensors")
    assert (merged.rank, merged.kept) == (9, pytest.approx(1))
    assert stack.metadata["ss_network_dim"] == "9"
    assert stack.metadata["ss_sd_model_name"] == "my-base"
    assert stack.metadata["ss_output_name"] == "film-stack"
    assert json.loads(stack.metadata["reel2lora.merged"]) == WEIGHTS
    parts = [(load_kohya(each.file).unet[LAYERS["sd15"]], each.weight) for each in release.loras]
    expected = sum(weight * part.up @ part.down for part, weight in parts)
    found = stack.unet[LAYERS["sd15"]]
    assert torch.allclose(found.up @ found.down, expected, atol=1e-4)
    assert set(stack.text_encoder) == {"encoder_layers_0_self_attn_out_proj"}


def test_with_a_dora_there_is_no_file_of_all_and_nothing_for_programs_that_misread_it(tmp_path: Path):
    release = release_of(tmp_path, "sd15")
    one = release.loras[0]
    about = {"reel2lora.settings": '{"rank": 3, "dora": true}'}
    one.file.write_bytes(with_metadata(one.file.read_bytes(), about))
    release = release_of_files(release)
    assert release.has_dora
    assert export_release(release, tmp_path / "out") is None
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"luca.safetensors", "comfyui_workflow.json", "README.md"} <= left
    assert not left & {"film-stack.safetensors", "a1111_prompts.txt", "diffusers_example.py"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "With a DoRA among them (luca) there is no file of all" in card
    assert "dora True" in card
    assert "models/Lora`" not in card


def release_of_files(release: Release) -> Release:
    """Return the release anew, its files' metadata not read yet."""
    return replace(release, loras=tuple(replace(each) for each in release.loras))


@given(st.dictionaries(st.text(min_size=1), st.text()), st.lists(st.floats(width=32, allow_nan=False), max_size=5))
def test_metadata_is_laid_over_what_is_there(added: dict[str, str], values: list[float]):
    plain = save({"x": torch.tensor(values), "y": torch.ones(2, 3)}, {"kept": "ü", "format": "pt"})
    changed = with_metadata(plain, added)
    assert read_metadata(changed) == {"kept": "ü", "format": "pt", **added}
    assert changed.endswith(plain[8 + int.from_bytes(plain[:8], "little") :])
    assert (8 + int.from_bytes(changed[:8], "little")) % 8 == 0


def test_the_script_draws_what_this_project_draws(tmp_path: Path):
    base = make_random_base(tmp_path / "base")
    release = release_of(tmp_path, "sd15")
    export_release(release, tmp_path / "out")
    script = tmp_path / "out" / "diffusers_example.py"
    text = script.read_text()
    assert "BASE = 'my-base'" in text
    assert str(tmp_path) not in text
    script.write_text(text.replace("'my-base'", repr(str(base))))
    runpy.run_path(str(script))
    picture = np.asarray(Image.open(tmp_path / "out" / "diffusers_example.png"))
    model = load_base(base, device="cpu")
    for each in release.loras:
        add_lora(model, tmp_path / "out" / f"{each.name}.safetensors", each.name)
    batch = Batch([release.prompt], SAMPLING.negative_prompt, [3])
    variants = {"stack": WEIGHTS, "alone": {"luca": 1.0}}
    ours = {
        name: sample_stacked(model, Variant(name=name, weights=weights), batch, Drawing(2, 4.0, 64))[0]
        for name, weights in variants.items()
    }
    assert np.abs(picture.astype(int) - ours["stack"]).max() <= 2
    assert np.abs(picture.astype(int) - ours["alone"]).max() > 10


@pytest.mark.parametrize("family", ["sdxl", "flux", "qwen_image"])
def test_scripts_are_python_that_names_what_diffusers_has(family: str, tmp_path: Path):
    export_release(release_of(tmp_path, family, ("luca",)), tmp_path / "out")
    text = (tmp_path / "out" / "diffusers_example.py").read_text()
    compile(text, "script", "exec")
    (names,) = re.findall(r"from diffusers import (.+)", text)
    pipeline = getattr(diffusers, names.split(", ")[-1])
    told = re.findall(r"^    (\w+)=", text.split("image = pipeline(")[1], re.MULTILINE)
    assert set(told) <= set(inspect.signature(pipeline.__call__).parameters)


def test_the_card_says_what_there_is_and_leaves_the_licence_open(tmp_path: Path):
    export_release(release_of(tmp_path, "sd15", rank=2), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {"library_name": "diffusers", "tags": ["lora", "text-to-image"]}
    assert "| town | background town | `town (boy)` | 0.8 | town.safetensors |" in card
    assert "rank 2, to be used at weight 1" in card
    assert "a higher rank keeps more" in card
    assert "Films: harbour; 2 shots, 2 pictures, 1 held out." in card
    assert "100 steps, rank 3." in card
    assert "for you to say who may use these files" in card
    assert all(f"`{name}`" in card for name in ("a1111_prompts.txt", "comfyui_workflow.json", "diffusers_example.py"))


def test_a_family_gets_files_for_programs_that_draw_with_it(tmp_path: Path):
    preview = tmp_path / "sample.png"
    Image.new("RGB", (8, 8)).save(preview)
    lora = released(tmp_path, "luca", "qwen_image_edit", preview=preview)
    release = Release("luca", (lora,), "luca (boy)", SAMPLING)
    assert export_release(release, tmp_path / "out") is None
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "luca.safetensors", "luca.png", "export.json"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["instance_prompt"] == "luca (boy)"
    assert "ComfyUI" not in card


def test_only_an_older_export_is_replaced(tmp_path: Path):
    release = release_of(tmp_path, "sd15")
    export_release(release, tmp_path / "out")
    export_release(release_of(tmp_path, "sd15", ("luca",)), tmp_path / "out")
    assert not (tmp_path / "out" / "town.safetensors").exists()
    assert not list(tmp_path.glob("out.*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputFault, match="mine is there and is no export"):
        export_release(release, tmp_path / "mine")
    mixed = (release.loras[0], released(tmp_path, "town", "sdxl"))
    with pytest.raises(InputFault, match="for different base models"):
        export_release(Release("film", mixed, "", SAMPLING), tmp_path / "mixed")
    renamed = release.loras[0].lora.model_copy(update={"name": "run-stack"})
    loras = (ReleasedLora(renamed, release.loras[0].file, 1.0), release.loras[1])
    with pytest.raises(InputFault, match="'run-stack', as the merged stack would be"):
        export_release(Release("run", loras, "", SAMPLING), tmp_path / "twice")
    assert not (tmp_path / "mixed").exists()
