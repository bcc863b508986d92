"""`reel2lora export-lora`: the newest LoRAs of a project and their stack as other programs read them, or why not."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from data_contracts.composition import Composition, SearchSummary, WeightChoice
from data_contracts.faults import InputFault
from data_contracts.results import LoraFile
from flows.main import app
from models.diffusion.lora_file import LoraModule, LoraWeights, load_kohya, save_kohya
from models.exports.lora_header import read_metadata
from tasks.run_record import RunRecord, StageUse
from tests.finished_stage import finish_stage

LAYER = "mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
TYPES = {"luca": "character", "town": "background"}
PROJECT = """
name: film
workspace: work
loras: {luca: {type: character}, town: {type: background}}
compose_loras: {weights: {character: 0.9, background: 0.5}, prefix: drawn, negative_prompt: blurry}
"""


def trained(workspace: Path, name: str, digest: str, seed: int) -> StageUse:
    """Write a finished training as the stage would."""
    folder = workspace / "train_lora" / digest
    (folder / "files").mkdir(parents=True)
    down, up = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for shape in ((2, 8), (8, 2)))
    weights = LoraWeights({LAYER: LoraModule(down, up, 2.0)}, {}, {"ss_sd_model_name": "base", "reel2lora.films": "[]"})
    save_kohya(folder / "files" / "lora.safetensors", weights)
    row = LoraFile(
        id=name, name=name, type=TYPES[name], subject=name, trigger=name, family="sd15", weights="lora.safetensors",
        loss_log="loss.jsonl", samples=(), sample_steps=(), steps=10, final_loss=0.1, dataset_digest="d", shots=(),
    )  # fmt: skip
    finish_stage(folder, [row])
    parents = ("assemble_dataset/gone",)
    return StageUse(stage="train_lora", label=name, digest=digest, parents=parents, reused=False, seconds=1.0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an older and a newer luca, and a town."""
    path = tmp_path / "film.yaml"
    path.write_text(PROJECT, encoding="utf-8")
    work = tmp_path / "work"
    runs = [
        [trained(work, "luca", "a" * 16, 1)],
        [trained(work, "luca", "b" * 16, 2), trained(work, "town", "c" * 16, 3)],
    ]
    for number, uses in enumerate(runs):
        RunRecord(name=f"2026010{number}-000000", project="film", started_at="2026", stages=uses).save(work)
    return path


def run(*arguments: object):
    return CliRunner().invoke(app, ["export-lora", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, InputFault), (result.exception, result.output)
    return str(result.exception)


def test_a_project_s_loras_and_their_stack_are_exported(project: Path):
    result = run(project)
    assert result.exit_code == 0, (result.exception, result.output)
    assert "merged into film-stack.safetensors: rank 4, keeps 100.00% of the stack" in result.output
    folder = project.parent / "work" / "exports" / "film-stack"
    assert {"luca.safetensors", "town.safetensors", "README.md"} < {path.name for path in folder.iterdir()}
    newest = load_kohya(project.parent / "work" / "train_lora" / ("b" * 16) / "files" / "lora.safetensors")
    assert torch.equal(load_kohya(folder / "luca.safetensors").unet[LAYER].up, newest.unet[LAYER].up)
    about = read_metadata((folder / "film-stack.safetensors").read_bytes())
    assert json.loads(about["reel2lora.merged"]) == {"luca": 0.9, "town": 0.5}
    prompts = (folder / "a1111_prompts.txt").read_text()
    stacked = "drawn, luca, in town, full body, side view <lora:luca:0.9> <lora:town:0.5>"
    assert f"{stacked}\nNegative prompt: blurry" in prompts


def test_prompts_and_workflow_name_the_files_that_were_written_and_no_others(project: Path):
    assert run(project).exit_code == 0
    folder = project.parent / "work" / "exports" / "film-stack"
    files = {path.name for path in folder.glob("*.safetensors")}
    prompts = (folder / "a1111_prompts.txt").read_text()
    assert {f"{name}.safetensors" for name in re.findall(r"<lora:([^:>]+):", prompts)} == files
    page, api = (json.loads((folder / f"comfyui_{name}.json").read_text()) for name in ("workflow", "api"))
    called = {node["inputs"]["lora_name"] for node in api.values() if "lora_name" in node["inputs"]}
    assert called == files - {"film-stack.safetensors"}  # the LoRAs themselves; merged, they would count twice
    loaders = [node for node in page["nodes"] if node["type"] == "LoraLoader"]
    assert {node["widgets_values"][0] for node in loaders} == called


def test_weights_and_rank_can_be_given(project: Path):
    out = project.parent / "a" / "b"
    result = run(project, "--out", out, "--weight", "town=0.25", "--rank", 1)
    assert result.exit_code == 0, (result.exception, result.output)
    assert "rank 1, keeps" in result.output
    assert "<lora:luca:0.9> <lora:town:0.25>" in (out / "a1111_prompts.txt").read_text()
    assert load_kohya(out / "film-stack.safetensors").unet[LAYER].rank == 1


def test_one_lora_goes_out_alone(project: Path):
    assert run(project, "town").exit_code == 0
    folder = project.parent / "work" / "exports" / "town-lora"
    assert {path.name for path in folder.glob("*.safetensors")} == {"town.safetensors"}
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: diffusers")


def test_what_cannot_be_exported_is_said_with_the_remedy(project: Path):
    assert "reel2lora run CONFIG --lora gia" in refused(project, "gia")
    assert "'luca', which is not exported; exported are: town" in refused(project, "town", "--weight", "luca=1")
    for weight in ("town", "town=much", "town=3", "town=nan"):
        assert "should be LORA=WEIGHT with a weight in 0..2" in refused(project, "town", "--weight", weight)
    project.write_text(PROJECT.replace("0.9", "9"), encoding="utf-8")
    assert "film.yaml: compose_loras.weights: the weight of character is 9.0" in refused(project)
    assert not (project.parent / "work" / "exports").exists()


def test_recommended_weights_go_with_the_loras_that_were_stacked(project: Path):
    work = project.parent / "work"
    chosen = [WeightChoice(lora=name, given=0.5, weight=0.65, low=0.5, high=0.8) for name in TYPES]
    found = SearchSummary(trials=3, seeds=8, score=0.5, certainty=0.6, weights=tuple(chosen), gain=None)
    folder = finish_stage(work / "compose_loras" / ("d" * 16))
    summary = Composition(loras=tuple(TYPES), judged=tuple(TYPES), seeds=8, search=found)
    (folder / "composition.json").write_text(summary.model_dump_json())
    older, newer = (f"train_lora/{digit * 16}" for digit in "ac")  # luca was trained anew since
    use = StageUse(
        stage="compose_loras", label="", digest="d" * 16, parents=(older, newer), reused=False, seconds=1.0
    )  # fmt: skip
    RunRecord(name="20260105-000000", project="film", started_at="2026", stages=[use]).save(work)
    assert run(project).exit_code == 0
    about = read_metadata((work / "exports" / "film-stack" / "film-stack.safetensors").read_bytes())
    assert json.loads(about["reel2lora.merged"]) == {"luca": 0.9, "town": 0.65}
