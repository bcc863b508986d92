"""Kill the whole graph in the middle of its stages: no work is lost, the results are those of an undisturbed run."""

import json
import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from data_contracts.manifest import Manifest
from flows.build_all import build_all
from tests.killed import finish, kill, start_script, wait_for
from tests.small_project import CONFIG, tiny_project

FEW_STAGES = ("inpaint_plates", "train_lora")
MORE_STAGES = (
    "extract_frames",
    "segment_layers",
    "estimate_poses",
    "assemble_dataset",
    "evaluate_lora",
    "compose_loras",
)
RUN = """
import json, sys
from pathlib import Path
from flows.build_all import build_all
build_all.fn(Path(sys.argv[1]), json.loads(sys.argv[2]))
"""


def start(workspace: Path) -> "subprocess.Popen[bytes]":
    environment = {"REEL2LORA_ALLOW": str(workspace.parent), "PYTHONHASHSEED": "random"}
    return start_script(RUN, str(CONFIG), json.dumps(tiny_project(workspace)), **environment)


def digests(workspace: Path) -> dict[str, str]:
    found = {}
    for path in workspace.glob("*/*/manifest.json"):
        manifest = Manifest.load(path.parent)
        assert manifest is not None
        found[f"{manifest.stage}/{manifest.digest}"] = manifest.content_digest
    return found


def computed_shards(workspace: Path) -> Counter[str]:
    return Counter(
        f"{journal.parent.parent.name}/{journal.parent.name}/{json.loads(line)['shard']}"
        for journal in workspace.glob("*/*/journal.jsonl")
        for line in journal.read_text().splitlines()
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The workspace of a run that nobody killed."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "work"
    build_all.fn(CONFIG, tiny_project(workspace))
    return workspace


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("stages", [FEW_STAGES, pytest.param(MORE_STAGES, marks=pytest.mark.slow)])
def test_killed_runs_that_go_on_two_at_once_end_as_one_that_nobody_disturbed(stages, undisturbed, tmp_path):
    workspace = tmp_path / "work"
    chance = random.Random(7)
    for stage in stages:
        child = start(workspace)
        wait_for(f"{stage}/*/*", workspace, child)
        time.sleep(chance.uniform(0, 4))
        kill(child)
    for child in [start(workspace), start(workspace)]:
        finish(child, 500)
    assert digests(workspace) == digests(undisturbed)
    assert set(computed_shards(workspace).values()) == {1}
