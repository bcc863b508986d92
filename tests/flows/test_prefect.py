"""What only a real Prefect server can tell: the short deployment name, the graph's edges, artifacts, a clean stop."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows.deployment_names import short_name_at
from flows.serving import server
from tests.small_project import CONFIG, ROOT

TOY_FLOW = """
import sys
from collections.abc import Iterator
from pathlib import Path
from prefect import flow
from data_contracts.config import StageConfig
from data_contracts.dataset import Dataset
from data_contracts.records import Record, Rejected
from flows.serving import send_what_waits
from tasks.run_record import labelled
from tasks.stage import stage

class Number(Record):
    shot: str
    value: int

@stage(Number, version=1)
def make_numbers(out: Path, names: tuple[str, ...], config: StageConfig) -> Iterator[Number | Rejected]:
    for value, name in enumerate(names):
        yield Number(id=name, shot=f"s{value % 2}", value=value)

@stage(Number, version=1, by="shot")
def square_numbers(out: Path, numbers: Dataset[Number], config: StageConfig) -> Iterator[Number | Rejected]:
    for row in numbers:
        yield Rejected(id=row.id, reason="too_large", value=9) if row.value == 3 else row

@stage(Number, version=1)
def add_numbers(out: Path, sets: tuple[Dataset[Number], ...], config: StageConfig) -> Iterator[Number | Rejected]:
    yield Number(id="sum", shot="all", value=sum(row.value for each in sets for row in each))

@flow(name="toy")
def toy(workspace: str) -> None:
    place = Path(workspace)
    numbers = make_numbers(place, ("a", "b", "c", "d"), StageConfig())
    with labelled("luca"):
        squares = square_numbers(place, numbers, StageConfig())
    add_numbers(place, (numbers, squares), StageConfig())

toy(sys.argv[1])
send_what_waits()
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The address of a server of our own, in an empty home."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("home")))
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    patch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    patch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")
    with server("127.0.0.1", port) as address:
        yield address
    patch.undo()


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def ask(api: str, what: str) -> list[dict]:
    from flows.deployment_names import ask as post

    return post(f"{api}/{what}/filter", {})


def test_a_flow_shows_its_stages_edges_and_artifacts(api, tmp_path):
    for _ in range(2):
        child = run("-c", TOY_FLOW, str(tmp_path / "work"))
        assert child.returncode == 0, child.stderr
    runs = {each["name"]: each for each in ask(api, "task_runs")}
    assert {"make-numbers", "square-numbers-luca", "add-numbers"} <= set(runs)
    assert {"make-numbers · reused", "square-numbers-luca · reused", "add-numbers · reused"} <= set(runs)
    assert len(runs["add-numbers"]["task_inputs"]["sets"]) == 2
    assert runs["square-numbers-luca"]["task_inputs"]["numbers"][0]["id"] == runs["make-numbers"]["id"]
    artifacts = ask(api, "artifacts")
    progress = [a for a in artifacts if a["key"] == "square-numbers-luca-progress"]
    assert progress[0]["data"] == 100
    texts = [a["data"] for a in artifacts if a["key"] == "square-numbers-luca"]
    assert any("| too large | 1 |" in text for text in texts)


def test_other_pages_may_not_start_runs(api):
    request = urllib.request.Request(f"{api}/flows/", b'{"name": "evil"}', {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403


def test_a_deployment_runs_by_its_short_name(api):
    serve = subprocess.Popen(
        [sys.executable, "-m", "flows.main", "up", str(CONFIG)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        for line in serve.stdout:
            if "Ctrl-C" in line:
                break
        deadline = time.monotonic() + 60
        while len(names := {each["name"] for each in ask(api, "deployments")}) < 7 and time.monotonic() < deadline:
            time.sleep(0.2)
        kinds = ("character", "background", "pose", "expression", "all", "composition", "tune")
        assert names == {f"luca-{kind}" for kind in kinds}
        unknown = run("-m", "prefect", "deployment", "run", "luca-nobody")
        assert unknown.returncode != 0
        assert "No deployment is called 'luca-nobody'" in unknown.stderr
        # Nobody serves any more: the flow run is made, but not begun.
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(60) == 0
        known = run("-m", "prefect", "deployment", "run", "luca-character")
        assert known.returncode == 0, known.stderr
        assert "build-lora/luca-character" in known.stdout
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGKILL)
    (made,) = [each for each in ask(api, "flow_runs") if each["deployment_id"]]
    assert made["parameters"]["lora"] == "luca"
    assert Path(made["parameters"]["config"]).name == "luca.yaml"


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["prefect", "deployment", "run", "luca-all"], 3),
        (["/x/bin/prefect", "deployment", "run", "luca-all", "--watch"], 3),
        (["prefect", "deployment", "run", "build-all/luca-all"], None),
        (["prefect", "deployment", "run", "--id"], None),
        (["prefect", "deployment", "ls"], None),
        (["reel2lora", "deployment", "run", "luca-all"], None),
        ([], None),
    ],
)
def test_only_a_short_name_is_completed(arguments, place):
    assert short_name_at(arguments) == place
