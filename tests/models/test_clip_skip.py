"""Training, drawing and other programs read the layer of the text encoder that `clip_skip` counts to."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from data_contracts.faults import InputFault
from data_contracts.generation import GenerateRequest, NamedLora, Variant
from data_contracts.project_file import load_project
from flows.checks.memory_faults import trainer_faults
from models.diffusion import load_base
from models.diffusion.drawing import Drawing
from models.diffusion.families import networks_of
from models.diffusion.folding import folded
from models.diffusion.generate import generate
from models.diffusion.lora_file import load_kohya
from models.diffusion.lora_stack import add_lora, set_lora_weights
from models.exports.lora_folder import export_release
from models.pictures import read_rgb
from tasks.pictures_job import common_clip_skip
from tests.models.family_runs import moved, tiny_examples, train_in
from tests.models.lora_releases import SAMPLING, release_of
from tests.random_base import make_random_base
from tests.random_sdxl import small_tokenizer
from tests.small_project import CONFIG

LORAS = "luca", "portorosso", "running", "happy"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.getbasetemp() / "random-base-skip", tokenizer=small_tokenizer())


def read_by_diffusers(base: Path, prompt: str, **skip: int) -> torch.Tensor:
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    vars(pipeline.text_encoder).setdefault("text_model", pipeline.text_encoder)  # as transformers 4 has it
    return pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False, **skip)[0]


def test_layers_are_counted_from_the_last_and_one_more_than_diffusers_does(base):
    prompt = "luca in a harbour"
    for clip_skip, theirs in ((1, {}), (2, {"clip_skip": 1})):
        model = load_base(base, device="cpu", clip_skip=clip_skip)
        with torch.no_grad():
            ours = model.encode_prompts([prompt])["states"]
        torch.testing.assert_close(ours, read_by_diffusers(base, prompt, **theirs), rtol=0, atol=1e-6)
        assert model.sample([prompt], "", [1], Drawing(2, 4.0, 64))[0].shape == (64, 64, 3)


def test_a_training_reads_it_and_says_so(base, tmp_path):
    examples = tiny_examples(tmp_path)
    settings = {"text_encoder_learning_rate": 1e-2, "steps": 2, "sample_every": 0, "clip_skip": 2}
    lora = train_in(tmp_path / "run", base, examples, **settings)
    assert load_kohya(lora).metadata["ss_clip_skip"] == "2"
    layers = {key.split("layers_")[1][0] for key in moved(lora) if key.startswith("lora_te")}
    assert layers == {"0"}  # the last of two is not read, and learns nothing
    request = GenerateRequest(
        base=base,
        loras=(NamedLora(name="luca", path=lora),),
        variants=(Variant(name="luca", weights={"luca": 1.0}),),
        prompts=("luca",),
        seeds=1,
        steps=2,
        size=64,
        threads=1,
        clip_skip=2,
        output=tmp_path / "pictures",
    )
    (tmp_path / "request.json").write_text(request.model_dump_json())
    generate(tmp_path / "request.json")
    model = load_base(base, device="cpu", clip_skip=2)
    add_lora(model, lora, "luca")
    set_lora_weights(model, {"luca": 1.0})
    with folded(*networks_of(model).values()):  # as `generate` draws
        both = (model, replace(model, clip_skip=1))
        ours, last = (each.sample(["luca"], "", [1], Drawing(2, 7.0, 64)) for each in both)
    assert np.array_equal(read_rgb(tmp_path / "pictures/luca-00-1.png"), ours[0])
    assert not np.array_equal(ours, last)


def test_other_programs_are_told_of_it_and_draw_the_same(base, tmp_path):
    plain = release_of(tmp_path, "sd15", ("luca", "town"))
    release = replace(plain, loras=tuple(replace(each, lora=skipping(each.lora, 2)) for each in plain.loras))
    export_release(release, tmp_path / "out")
    assert "Size: 64x64, Clip skip: 2\n" in (tmp_path / "out/a1111_prompts.txt").read_text()
    nodes = json.loads((tmp_path / "out/comfyui_api.json").read_text())
    ((number, node),) = [each for each in nodes.items() if each[1]["class_type"] == "CLIPSetLastLayer"]
    assert node["inputs"]["stop_at_clip_layer"] == -2
    assert nodes[node["inputs"]["clip"][0]]["class_type"] == "LoraLoader"
    readers = [each["inputs"]["clip"] for each in nodes.values() if each["class_type"] == "CLIPTextEncode"]
    assert readers == [[number, 0]] * 2
    assert "clip skip 2 as AUTOMATIC1111 counts" in (tmp_path / "out/README.md").read_text()
    script = tmp_path / "out/diffusers_example.py"
    script.write_text(script.read_text().replace("'my-base'", repr(str(base))))
    runpy.run_path(str(script))
    model = load_base(base, device="cpu", clip_skip=2)
    for each in release.loras:
        add_lora(model, each.file, each.name)
    set_lora_weights(model, {each.name: each.weight for each in release.loras})
    (ours,) = model.sample([release.prompt], SAMPLING.negative_prompt, [3], Drawing(2, 4.0, 64))
    picture = np.asarray(Image.open(script.with_suffix(".png"))).astype(int)
    assert np.abs(picture - ours).max() <= 2
    export_release(plain, tmp_path / "plain")
    assert "clip" not in (tmp_path / "plain/diffusers_example.py").read_text()


def skipping(lora, clip_skip):
    return lora.model_copy(update={"clip_skip": clip_skip})


def test_what_cannot_be_read_alike_is_refused(base, tmp_path):
    plain = release_of(tmp_path, "sd15", ("luca", "town"))
    luca, town = plain.loras
    mixed = (luca, replace(town, lora=skipping(town.lora, 2)))
    with pytest.raises(InputFault, match=r"train.clip_skip \[1, 2\]: train them alike"):
        export_release(replace(plain, loras=mixed), tmp_path / "out")
    with pytest.raises(
        InputFault, match=r"different train.clip_skip, {'luca': 1, 'town': 2}, cannot be drawn together"
    ):
        common_clip_skip([each.lora for each in mixed])
    assert common_clip_skip([mixed[1].lora]) == 2
    with pytest.raises(InputFault, match=r"train\.clip_skip differs between LoRAs that are to be stacked"):
        load_project(CONFIG, {"loras.luca.train.clip_skip": "2"})
    with pytest.raises(InputFault, match="clip_skip is 3, but the base model's text encoder has 2 layers"):
        load_base(base, device="cpu", clip_skip=3)
    sdxl = tmp_path / "sdxl"
    sdxl.mkdir()
    (sdxl / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    project = load_project(CONFIG, {f"loras.{name}.train.clip_skip": "2" for name in LORAS})
    (fault,) = trainer_faults(project, sdxl, ["luca"])
    assert "clip_skip is above 1, but sdxl reads the layers that it was trained with" in fault.value
    assert trainer_faults(project, base, ["luca"]) == []


@pytest.fixture(autouse=True)
def _plain_arithmetic():
    """Training asks torch for deterministic algorithms: not for the tests after these."""
    yield
    torch.use_deterministic_algorithms(mode=False)
