"""Kill the whole graph at random moments: the results are those of a run that nobody disturbed, and no work is lost."""

import json
import os
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
from tests.small_project import CONFIG, ROOT, tiny_project

KILLS = 20
RUN = """
import json, sys
from pathlib import Path
from flows.build_all import build_all
build_all.fn(Path(sys.argv[1]), json.loads(sys.argv[2]))
"""


def start(workspace: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "REEL2LORA_ALLOW": str(workspace.parent), "PYTHONHASHSEED": "random"}
    arguments = [sys.executable, "-c", RUN, str(CONFIG), json.dumps(tiny_project(workspace))]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)


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


def finish(workspace: Path) -> None:
    child = start(workspace)
    _, errors = child.communicate(timeout=280)
    assert child.returncode == 0, errors.decode()[-2000:]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The workspace of a run that nobody killed."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "work"
    finish(workspace)
    return workspace


@pytest.mark.timeout(560)
def test_killed_runs_end_as_undisturbed_ones(undisturbed, tmp_path):
    chance = random.Random(7)
    expected, kills, rounds = digests(undisturbed), 0, 0
    while kills < KILLS:
        workspace = tmp_path / f"round{rounds}"
        rounds += 1
        for _ in range(KILLS):
            child = start(workspace)
            try:
                child.wait(chance.uniform(2.5, 8.0))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.communicate()
                kills += 1
                if kills == KILLS:
                    break
            else:
                assert child.returncode == 0, child.stderr.read().decode()[-2000:]
                break
        finish(workspace)
        assert digests(workspace) == expected
        assert set(computed_shards(workspace).values()) == {1}


@pytest.mark.timeout(300)
def test_two_runs_at_once_share_the_work(undisturbed, tmp_path):
    workspace = tmp_path / "shared"
    both = [start(workspace), start(workspace)]
    for child in both:
        _, errors = child.communicate(timeout=280)
        assert child.returncode == 0, errors.decode()[-2000:]
    assert digests(workspace) == digests(undisturbed)
    assert set(computed_shards(workspace).values()) == {1}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent died")
def test_a_killed_run_leaves_no_trainer_behind(undisturbed, tmp_path):
    workspace = Path(shutil.copytree(undisturbed, tmp_path / "orphan"))
    shutil.rmtree(workspace / "train_lora")
    child = start(workspace)
    deadline = time.monotonic() + 200
    while not (trainers := processes_with(str(workspace))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert trainers, "the trainer never came up"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 15
    while processes_with(str(workspace)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_with(str(workspace)) == []


def processes_with(word: str) -> list[int]:
    """Return the processes of the trainer whose command line names `word`."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "models.trainers.native" in line and word in line:
            found.append(process.pid)
    return found
