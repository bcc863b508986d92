"""Pose estimators in a process of their own: mmpose needs packages that cannot be installed beside ours.

Requests and answers are lines of JSON: a picture's path and a box go out, keypoints come back. The child ends when the
pipe from its parent does, so it never outlives it; how the child does its work is `mmpose_child.py`.
"""

import json
import subprocess
import tempfile
import weakref
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from models.pictures import encode_png
from models.pose import COCO_KEYPOINTS, Box, Image, Keypoints
from models.pose.mmpose_needs import RECIPE
from models.weights import MissingWeights

CHILD = Path(__file__).with_name("mmpose_child.py")
GRACE_S = 5.0
"""So long a child that was told to end may take."""


class ChildEnded(RuntimeError):
    """The process of a pose estimator is no longer there."""


class PoseProcess:
    """A `PoseEstimator` that another process runs.

    Args:
        python: the interpreter.
        backend: `mmpose`, or the name of a pose estimator of ours, which then runs beside instead of within.
        checkpoint: weights of mmpose's network.

    Raises:
        ChildEnded: the process ended before it was ready; the message has its last words.
    """

    def __init__(self, python: Path, backend: str = "mmpose", checkpoint: Path | None = None) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the child
        self._folder = tempfile.TemporaryDirectory(prefix="reel2lora-pose-")
        self._turn = Lock()
        self._python = python
        # -I keeps this file's own folder, where a mmpose.py lies, out of the child's import path
        command = [str(python), "-I", str(CHILD), backend, *([str(checkpoint)] if checkpoint else [])]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, encoding="utf-8"
        )
        self._end = weakref.finalize(self, end, self._child, self._folder, self._words)
        self._answer()

    def estimate(self, image: Image, box: Box) -> Keypoints:
        """Return `(17, 3)` COCO keypoints of the character in `box`: x, y in frame pixels, confidence 0..1.

        Raises:
            ValueError: the estimator refused the picture or the box.
            ChildEnded: the process is no longer there.
        """
        if not self._end.alive:
            message = "the pose estimator's process was closed: load the backend again"
            raise ChildEnded(message)
        path = Path(self._folder.name) / "frame.png"
        with self._turn:
            path.write_bytes(encode_png(image))
            answer = self._ask({"image": str(path), "box": [float(side) for side in box]})
        if "error" in answer:
            message = f"the pose estimator's process refused box {box}: {answer['error']}"
            raise ValueError(message)
        keypoints = np.array(answer["keypoints"], np.float32)
        if keypoints.shape != (len(COCO_KEYPOINTS), 3):
            message = f"the pose estimator's process answered keypoints of shape {keypoints.shape}, not (17, 3): "
            raise ValueError(message + "take a model of COCO's 17 keypoints")
        return keypoints

    def close(self) -> None:
        """End the process."""
        self._end()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request."""
        try:
            print(json.dumps(request), file=self._child.stdin, flush=True)
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """Return the next line of the child."""
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line.endswith("\n"):
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> ChildEnded:
        """Return what to raise for a child that is gone, with its last words."""
        code = wait_or_kill(self._child)
        self._words.seek(0)
        lines = self._words.read().decode("utf-8", "replace").strip().splitlines()
        words = lines[-1] if lines else "it said nothing"
        message = f"the pose estimator's process ({self._python.name}) ended with code {code}: {words}; "
        return ChildEnded(message + "run again, or name another `estimate_poses.backend`, such as rtmpose-m")


def mmpose_process(python: Path, checkpoint: Path) -> PoseProcess:
    """Return mmpose's RTMPose-m, run by the interpreter of its environment.

    Raises:
        MissingWeights: mmpose does not start in that environment.
    """
    try:
        return PoseProcess(python, "mmpose", checkpoint)
    except ChildEnded as error:
        message = f"mmpose does not start: {error}, or make its environment anew: `{' && '.join(RECIPE)}`"
        raise MissingWeights(message) from error


def end(child: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str], words: IO[bytes]) -> None:
    """End a child: it goes when its input does, and is killed where it does not."""
    if child.stdin and not child.stdin.closed:
        try:
            child.stdin.close()
        except BrokenPipeError:  # it ended with a request unread
            child.poll()
    wait_or_kill(child)
    if child.stdout:
        child.stdout.close()
    words.close()
    folder.cleanup()


def wait_or_kill(child: subprocess.Popen[str]) -> int:
    """Return the exit code of a child that is about to end, or is made to."""
    try:
        return child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
