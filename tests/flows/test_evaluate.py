"""`reel2lora evaluate` where a LoRA was made by hand: which LoRA it takes, what it leaves, what it says."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_contracts.config import StageConfig
from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.records import Example, Facets
from data_contracts.results import LoraFile
from flows.commands.evaluate import print_summary
from flows.commands.inspect_runs import latest_run
from flows.evaluate_suite import Evaluated, evaluate_in_suite, measures_here, newest_trained
from models.embed import DINOV2_BASE
from models.pictures import keep_picture
from models.suite.summary import read_summary
from tasks.run_record import labelled, recorded_run
from tasks.shards import journal_of
from tasks.stage import stage
from tests.models.tiny_networks import hub_folder
from tests.random_base import make_random_base
from tests.small_project import CONFIG


class NoConfig(StageConfig):
    """Nothing to say."""


@stage(Example, version=1)
def assemble_dataset(out: Path, config: NoConfig) -> Iterator[Example]:
    """Yield twelve pictures, the last six of them held out."""
    for number in range(12):
        small = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
        yield Example(
            id=f"film:{number}", film="film", shot=f"film:s000{number // 6}", frame=number, time_s=number,
            source_id=f"film:{number}:t00", box=(0, 0, 64, 64), facets=Facets(), image=keep_picture(out, picture),
            mask=None, caption="luca", tokens=3, repeats=1, split="held_out" if number > 5 else "train", sharpness=9,
        )  # fmt: skip


@stage(LoraFile, version=1)
def train_lora(out: Path, config: NoConfig) -> Iterator[LoraFile]:
    """Yield a LoRA that changes one layer of the random base."""
    import torch

    from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya

    generator = torch.Generator().manual_seed(1)
    down, up = (4 * torch.randn(shape, generator=generator) for shape in ((2, 48), (48, 2)))
    modules = {"mid_block_attentions_0_transformer_blocks_0_attn1_to_v": LoraModule(down, up, 2.0)}
    save_kohya(out / "luca.safetensors", LoraWeights(modules, {}, {}))
    yield LoraFile(
        id="luca", name="luca", type="character", subject="luca", trigger="luca", family="sd15",
        weights="luca.safetensors", loss_log="none.jsonl", samples=(), sample_steps=(), steps=1, final_loss=0.1,
        dataset_digest="0" * 64, shots=("film:s0000",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A workspace with a trained LoRA, and the changes that make the sample project use it."""
    folder = tmp_path_factory.mktemp("project")
    workspace, base = folder / "work", make_random_base(folder / "base")
    workspace.mkdir()
    with recorded_run(workspace, "luca"), labelled("luca"):
        assemble_dataset(workspace, config=NoConfig())
        train_lora(workspace, config=NoConfig())
    return workspace, {
        "workspace": str(workspace), "base": str(base), "loras.luca.evaluate.steps": "1",
        "loras.luca.evaluate.size": "64", "loras.luca.evaluate.batch": "10",
    }  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(project, tmp_path_factory) -> Evaluated:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("nothing")))
        return evaluate_in_suite.fn(CONFIG, "luca", "quick", changes=project[1])


def test_the_newest_lora_is_drawn_and_measured(project, evaluated):
    workspace, _ = project
    summary = read_summary(evaluated.folder)
    assert summary.lora == "luca"
    assert [(cell.category, cell.pictures) for cell in summary.cells] == [
        ("all", 20), ("portraits", 5), ("full body", 5), ("angles", 5), ("environments", 5),
    ]  # fmt: skip
    assert summary.measures[:2] == ("found", "likeness efficientnet-lite0+colour")
    missing = ("likeness dinov2-base", "likeness clip-vit-large-patch14", "text clip-vit-large-patch14")
    assert set(summary.absent) == {*missing, "text siglip2-base-patch16-224"}
    assert all("hf download" in why for why in summary.absent.values())
    assert evaluated.folder.parent == workspace / "evaluate_suite"


def test_its_run_shows_what_was_before_and_the_report_shows_the_sheet(project, evaluated):
    stages = [use.stage for use in latest_run(project[0]).stages]
    assert stages == ["assemble_dataset", "train_lora", "draw_suite", "evaluate_suite"]
    page = evaluated.report.read_text(encoding="utf-8")
    assert "Evaluate suite: luca" in page
    assert len(re.findall("data:image/jpeg", page)) == 1


def test_again_nothing_is_drawn_or_measured_anew(project, evaluated, tmp_path, monkeypatch):
    workspace, changes = project
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert evaluate_in_suite.fn(CONFIG, "luca", "quick", changes=changes).folder == evaluated.folder
    folders = [evaluated.folder, *(workspace / "draw_suite").iterdir()]
    assert [len(journal_of(folder)) for folder in folders] == [1, 1]
    other = evaluate_in_suite.fn(CONFIG, "luca", "quick", "a girl", changes)
    assert other.folder == evaluated.folder  # the class is for text scorers alone, and none is here


def test_what_is_printed_has_every_category_and_every_reason(evaluated, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_summary(read_summary(evaluated.folder))
    said = capsys.readouterr().out
    for words in ("environments", "likeness", "strength 1, against the base: found", "not measured: text clip"):
        assert words in said


def test_a_lora_that_is_not_there_is_said_with_what_to_do(project, tmp_path):
    with pytest.raises(InputFault, match="'nobody' is not a LoRA of the project; known: luca, portorosso"):
        newest_trained(load_project(CONFIG, project[1]), "nobody")
    with pytest.raises(InputFault, match="no run has trained 'happy' yet: reel2lora run CONFIG --lora happy"):
        newest_trained(load_project(CONFIG, project[1]), "happy")


def test_what_is_on_the_machine_is_measured_and_no_judge_is_said(project, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = hub_folder(tmp_path, DINOV2_BASE)
    for name in DINOV2_BASE.files:
        (folder / name).touch()
    plan = load_project(CONFIG, {**project[1], "loras.luca.evaluate.judge": "null"}).loras["luca"]
    found = measures_here(plan, "")
    assert found.embedders == ("dinov2-base", "efficientnet-lite0+colour")
    assert found.judge is None
    assert found.absent["found"] == "no judge is named under the LoRA's `evaluate.judge`"
    assert "likeness dinov2-base" not in found.absent
