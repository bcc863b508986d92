"""A character's LoRA from film to pictures with kohya's sd-scripts as the trainer, killed in the middle of training.

Skipped where sd-scripts or their environment are not here.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.diffusion.lora_file import load_kohya
from models.trainers import TRAINERS, kohya_home
from models.weights import MissingWeights
from tests.small_project import ROOT, small_project
from tests.tiny_kohya import small_base, small_checkout

STEPS = 20
RUN = """
import json, sys
from flows.build_lora import build_lora
from tests.small_project import CONFIG
build_lora.fn(CONFIG, "luca", json.loads(sys.argv[1]))
"""


def start(changes: dict[str, str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, json.dumps(changes)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, start_new_session=True)


def wait_for_steps(folder: Path, steps: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 240
    while not any(log.read_bytes().count(b"\n") >= steps for log in folder.glob("train_lora/*/job/loss.jsonl")):
        assert child.poll() is None, "the run ended before its training was killed"
        assert time.monotonic() < until, f"no {steps} steps after four minutes"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_character_is_trained_by_sd_scripts_though_killed_once(tmp_path):
    try:
        TRAINERS.load("kohya")
    except MissingWeights as missing:
        pytest.skip(str(missing))
    work = tmp_path / "work"
    environment = {
        "REEL2LORA_ALLOW": str(tmp_path),
        kohya_home.CHECKOUT_VARIABLE: str(small_checkout(kohya_home.Checkout().path(), tmp_path / "sd-scripts")),
    }
    train = {"trainer": "kohya", "steps": STEPS, "warmup_steps": 2, "checkpoint_every": 5, "masked_prior": 0}
    changes = small_project(work) | {"base": str(small_base(tmp_path / "base"))}
    changes |= {f"loras.luca.train.{key}": str(value) for key, value in train.items()}
    with start(changes, environment) as child:
        wait_for_steps(work, 12, child)
        os.killpg(child.pid, signal.SIGKILL)
    assert not list(work.glob("train_lora/*/manifest.json"))
    with start(changes, environment) as child:
        assert child.wait(300) == 0
    (job,) = work.glob("train_lora/*/job")
    losses = [json.loads(line) for line in (job / "loss.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in losses] == list(range(1, STEPS + 1))
    started = (job / "kohya" / "log.txt").read_text(encoding="utf-8").count("running training")
    assert started == 2
    assert "resume = " in (job / "kohya" / "config.toml").read_text()
    lora = load_kohya(job / "lora.safetensors")
    assert any(bool(module.up.any()) for module in lora.unet.values())
    assert list(work.glob("evaluate_lora/*/manifest.json"))
