"""The child process of `mmpose`, served by an estimator of ours where mmpose itself is not installed."""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from models.pose import MMPOSE_CHECKPOINT, POSE_ESTIMATORS, isolate
from models.pose.mmpose import CHILD, ChildEnded, PoseProcess, mmpose_process
from models.pose.mmpose_needs import PYTHON_VARIABLE, MmposePython, OpenMmlabFile
from models.web_file import FOLDER_VARIABLE
from models.weights import MissingWeights, fetcher
from tests.models.sample_film import rows

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def child():
    estimator = PoseProcess(PYTHON, "blazepose")
    yield estimator
    estimator.close()


@pytest.fixture
def script():
    """Return the child's script as a module; it is run, never imported, in earnest."""
    spec = importlib.util.spec_from_file_location("mmpose_child", CHILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_child_answers_what_its_estimator_does(child):
    near = POSE_ESTIMATORS.load("blazepose")
    for row in rows(12)[:2]:
        alone = isolate(row.image, row.alpha)
        np.testing.assert_array_equal(child.estimate(alone, row.box), near.estimate(alone, row.box))


def test_a_refused_box_is_an_error_and_the_next_one_is_answered(child):
    row = rows(12)[0]
    with pytest.raises(ValueError, match=r"process refused box .*is empty"):
        child.estimate(row.image, (5, 5, 5, 9))
    assert child.estimate(row.image, row.box).shape == (17, 3)


def test_a_child_that_does_not_start_says_why():
    with pytest.raises(ChildEnded, match=r"ended with code 1: .*no pose estimator is called 'openpose'"):
        PoseProcess(PYTHON, "openpose")


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is not None, reason="mmpose is installed")
def test_an_environment_without_mmpose_says_so(tmp_path):
    checkpoint = tmp_path / "net.pth"
    torch.save({}, checkpoint)
    with pytest.raises(MissingWeights, match=r"mmpose does not start: .*No module named 'mmpose'.*mmcv-lite"):
        mmpose_process(PYTHON, checkpoint)


def test_a_dead_child_is_a_clear_error():
    estimator = PoseProcess(PYTHON, "blazepose")
    row = rows(12)[0]
    estimator._child.kill()
    with pytest.raises(ChildEnded, match=r"ended with code -9.*rtmpose-m"):
        estimator.estimate(row.image, row.box)
    with pytest.raises(ChildEnded, match="ended with code -9"):
        estimator.estimate(row.image, row.box)
    estimator.close()
    with pytest.raises(ChildEnded, match="was closed: load the backend again"):
        estimator.estimate(row.image, row.box)


def test_a_forgotten_estimator_takes_its_child_and_its_pictures_along():
    estimator = PoseProcess(PYTHON, "blazepose")
    process, folder = psutil.Process(estimator._child.pid), Path(estimator._folder.name)
    assert folder.is_dir()
    del estimator
    assert not process.is_running()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_child_dies_with_its_parent():
    script = (
        "import sys, time; from pathlib import Path; from models.pose.mmpose import PoseProcess\n"
        "estimator = PoseProcess(Path(sys.executable), 'blazepose'); print(estimator._child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_is_missing_is_named_with_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(MissingWeights, match=rf"{PYTHON_VARIABLE} is not set.*mmcv-lite==2\.1\.0.*export"):
        POSE_ESTIMATORS.load("mmpose")
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(MissingWeights, match="nowhere, which is no program"):
        MmposePython().path()
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    with pytest.raises(MissingWeights, match=r"e48f03d0_20230504\.pth does not exist: `curl"):
        POSE_ESTIMATORS.load("mmpose")
    assert fetcher(MMPOSE_CHECKPOINT) is not None


def test_a_checkpoint_is_known_by_the_digits_in_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "net.pth").write_bytes(b"weights")
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    assert OpenMmlabFile("net.pth", "http://web/net.pth", digits, "MIT", 0.1).path() == tmp_path / "net.pth"
    (tmp_path / "net.pth").write_bytes(b"torn")
    with pytest.raises(MissingWeights, match="broken or another file"):
        OpenMmlabFile("net.pth", "http://web/net.pth", digits, "MIT", 0.1).path()


def test_operators_that_mmcv_lite_lacks_are_there_and_refuse(script):
    stub = script.without_operators("mmcv._ext")
    assert hasattr(stub, "roi_align_forward")
    assert not hasattr(stub, "__path__")
    with pytest.raises(NotImplementedError, match="roi_align_forward"):
        stub.roi_align_forward(1)


def test_suppression_keeps_the_surest_of_overlapping_boxes(script):
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [40, 40, 50, 50], [0, 0, 10, 5]])
    kept = script.suppressed(boxes, torch.tensor([0.6, 0.9, 0.5, 0.1]), 0.5)
    assert kept.tolist() == [1, 2, 3]
    assert script.suppressed(boxes[:0], torch.zeros(0), 0.5).tolist() == []
