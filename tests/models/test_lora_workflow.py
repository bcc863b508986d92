"""Finished LoRAs in ComfyUI and AUTOMATIC1111: links, nodes and files are there, and say what they should."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.exports.lora_folder import export_release
from models.exports.lora_graph import KINDS, Graph
from models.exports.lora_header import with_metadata
from models.exports.lora_release import Release, ReleasedLora
from tests.models.lora_releases import WEIGHTS, release_of


def check_workflow(folder: Path) -> dict[str, Any]:
    """Check that both workflows are one graph whose links and files are there; return the second by number."""
    page, api = (json.loads((folder / f"comfyui_{name}.json").read_text()) for name in ("workflow", "api"))
    nodes = {node["id"]: node for node in page["nodes"]}
    assert (len(nodes), max(nodes)) == (len(page["nodes"]), page["last_node_id"])
    assert [link[0] for link in page["links"]] == list(range(1, page["last_link_id"] + 1))
    edges = set()
    for number, source, slot, target, place, kind in page["links"]:
        given, taken = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert (given["type"], taken["type"], taken["link"]) == (kind, kind, number)
        assert number in given["links"]
        assert nodes[source]["order"] < nodes[target]["order"]
        edges.add((str(source), slot, str(target), taken["name"]))
    assert sum(len(node["inputs"]) for node in nodes.values()) == len(page["links"])
    assert {str(number): node["type"] for number, node in nodes.items()} == {k: n["class_type"] for k, n in api.items()}
    linked = {
        (*value, target, name)
        for target, node in api.items()
        for name, value in node["inputs"].items()
        if isinstance(value, list)
    }
    assert {(source, slot, target, name) for source, slot, target, name in linked} == edges
    for number, node in api.items():
        values = [value for value in node["inputs"].values() if not isinstance(value, list)]
        shown = [value for value in nodes[int(number)]["widgets_values"] if value != "fixed"]
        assert sorted(map(repr, shown)) == sorted(map(repr, values))
        assert node["inputs"].keys() == {*KINDS[node["class_type"]].links, *KINDS[node["class_type"]].values}
        if "lora_name" in node["inputs"]:
            assert (folder / node["inputs"]["lora_name"]).is_file()
    return api


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux", "qwen_image"])
def test_a_workflow_s_links_and_files_are_there(family: str, tmp_path: Path):
    export_release(release_of(tmp_path, family), tmp_path / "out")
    api = check_workflow(tmp_path / "out")
    loaders = {
        n["inputs"]["lora_name"]: n["inputs"]["strength_model"] for n in api.values() if "lora_name" in n["inputs"]
    }
    assert loaders == {f"{name}.safetensors": weight for name, weight in WEIGHTS.items()}
    (sampler,) = [node["inputs"] for node in api.values() if node["class_type"] == "KSampler"]
    assert (sampler["seed"], sampler["steps"]) == (3, 2)
    assert sampler["cfg"] == (1.0 if family == "flux" else 4.0)
    kinds = [node["class_type"] for node in api.values()]
    assert ("CheckpointLoaderSimple" in kinds) == (family in {"sd15", "sdxl"})
    texts = [node["inputs"]["text"] for node in api.values() if node["class_type"] == "CLIPTextEncode"]
    assert texts[0] == r"luca \(boy\) in town"


def test_a_base_that_predicts_velocity_is_sampled_so(tmp_path: Path):
    release = release_of(tmp_path, "sd15", ("luca",))
    file = release.loras[0].file
    file.write_bytes(with_metadata(file.read_bytes(), {"modelspec.prediction_type": "v"}))
    export_release(release_of_file(release), tmp_path / "out")
    api = check_workflow(tmp_path / "out")
    (number,) = [number for number, node in api.items() if node["class_type"] == "ModelSamplingDiscrete"]
    assert api[number]["inputs"]["sampling"] == "v_prediction"
    (sampler,) = [node["inputs"] for node in api.values() if node["class_type"] == "KSampler"]
    assert sampler["model"] == [number, 0]


def release_of_file(release: Release) -> Release:
    """Return a release whose metadata is read anew."""
    loras = tuple(ReleasedLora(each.lora, each.file, each.weight) for each in release.loras)
    return Release(release.name, loras, release.prompt, release.sampling, release.rank)


def test_graphs_refuse_what_does_not_fit():
    graph = Graph()
    model, clip, vae = graph.add("CheckpointLoaderSimple", ckpt_name="base.safetensors")
    with pytest.raises(ValueError, match=r"VAEDecode takes \['samples', 'vae'\], given were \['vae'\]"):
        graph.add("VAEDecode", vae=vae)
    with pytest.raises(ValueError, match=r"CLIPTextEncode\.clip takes a CLIP, given was a MODEL"):
        graph.add("CLIPTextEncode", clip=model, text="luca")
    graph.add("CLIPTextEncode", clip=clip, text="luca")
    assert [node.number for node in graph.nodes] == [1, 2]


def test_prompts_call_files_that_are_there(tmp_path: Path):
    export_release(release_of(tmp_path, "sdxl"), tmp_path / "out")
    text = (tmp_path / "out" / "a1111_prompts.txt").read_text()
    called = re.findall(r"<lora:([^:>]+):([^>]+)>", text)
    assert [name for name, _ in called[:4]] == ["luca", "town", "run", "film-stack"]
    assert dict(called) == {"luca": "1", "town": "0.8", "run": "0.75", "film-stack": "1"}
    stems = {path.stem for path in (tmp_path / "out").glob("*.safetensors")}
    assert {name for name, _ in called} == stems
    assert r"luca \(boy\) in town <lora:luca:1> <lora:town:0.8> <lora:run:0.75>" in text
    assert r"Negative prompt: blurry \(very\)" in text
    assert text.count("Steps: 2, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4, Seed: 3, Size: 64x64") == 5
    notes = json.loads((tmp_path / "out" / "run.json").read_text())
    assert notes["preferred weight"] == 0.75
    assert notes["activation text"] == r"run \(boy\)"
    assert notes["sd version"] == "SDXL"
