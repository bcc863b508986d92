"""Kill the whole graph at random moments: the results are those of a run that nobody disturbed, and no work is lost."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from data_contracts.manifest import Manifest
from tests.killed import finish, processes_with, start_script, wait_until_none_runs
from tests.small_project import CONFIG, tiny_project

TRAINER = "models.trainers.native"
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
    finish(start(workspace), 280)
    return workspace


@pytest.mark.timeout(560)
@pytest.mark.parametrize("most", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_as_undisturbed_ones(most, undisturbed, tmp_path):
    chance = random.Random(7)
    expected, kills, rounds = digests(undisturbed), 0, 0
    while kills < most:
        workspace = tmp_path / f"round{rounds}"
        rounds += 1
        for _ in range(most):
            child = start(workspace)
            try:
                child.wait(chance.uniform(2.5, 8.0))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.communicate()
                kills += 1
                if kills == most:
                    break
            else:
                assert child.returncode == 0, child.stderr.read().decode()[-2000:]
                break
        finish(start(workspace), 280)
        assert digests(workspace) == expected
        assert set(computed_shards(workspace).values()) == {1}


@pytest.mark.timeout(300)
def test_two_runs_at_once_share_the_work(undisturbed, tmp_path):
    workspace = tmp_path / "shared"
    both = [start(workspace), start(workspace)]
    for child in both:
        finish(child, 280)
    assert digests(workspace) == digests(undisturbed)
    assert set(computed_shards(workspace).values()) == {1}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent died")
def test_a_killed_run_leaves_no_trainer_behind(undisturbed, tmp_path):
    workspace = Path(shutil.copytree(undisturbed, tmp_path / "orphan"))
    shutil.rmtree(workspace / "train_lora")
    child = start(workspace)
    deadline = time.monotonic() + 200
    while not (trainers := processes_with(TRAINER, str(workspace))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert trainers, "the trainer never came up"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until_none_runs(TRAINER, str(workspace), seconds=15)
