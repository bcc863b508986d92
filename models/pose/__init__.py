"""Where the joints of a character are: one protocol, and its backends by their config names.

| name           | backend                                                       | weights                            |
|----------------|---------------------------------------------------------------|------------------------------------|
| `blazepose`    | BlazePose GHUM full, TFLite on the CPU, ~60 ms a character    | `mediapipe` (PyPI), Apache-2.0     |
| `rtmpose-m`    | RTMPose-m, taught by seven sets of human bodies, onnxruntime  | OpenMMLab's zip, 54 MB, Apache-2.0 |
| `vitpose-base` | ViTPose-B with the simple decoder, transformers, CPU or GPU   | the hub, 344 MB, Apache-2.0        |
| `mmpose`       | RTMPose-m by mmpose's own code: a child process in the        | OpenMMLab, 54 MB, Apache-2.0       |
|                | environment whose Python REEL2LORA_MMPOSE_PYTHON names        |                                    |
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.pose.mmpose_needs import MmposePython, OpenMmlabFile
from models.weights import HubModel, PackagedFile
from models.zipped_file import ZippedFile

Image = NDArray[np.uint8]
Keypoints = NDArray[np.float32]
Box = tuple[float, float, float, float]

COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""The 17 keypoints of COCO in their order; left and right are the character's own."""


class PoseEstimator(Protocol):
    """Finds the joints of the one character that a box holds."""

    def estimate(self, image: Image, box: Box) -> Keypoints:
        """Return the COCO keypoints of the character in `box`.

        Args:
            image: `(H, W, 3)` RGB uint8, the whole frame; best with the character alone (`isolate`).
            box: (x0, y0, x1, y1) in pixels, x1 and y1 exclusive.

        Returns:
            `(17, 3)` float32: x, y in pixels of the frame, confidence in 0..1.
        """
        ...


def isolate(image: Image, alpha: Image, background: int = 128) -> Image:
    """Return the character alone on plain grey, so that no neighbour or rock is taken for a limb.

    Args:
        image: `(H, W, 3)` RGB uint8.
        alpha: `(H, W)` uint8, 255 inside the character.
        background: grey value 0..255 around the character.

    Raises:
        ValueError: the two sizes differ.
    """
    if image.shape[:2] != alpha.shape:
        message = f"image is {image.shape[:2]} and alpha {alpha.shape}: both must be the size of the frame"
        raise ValueError(message)
    weight = alpha.astype(np.float32)[:, :, None] / 255.0
    return np.asarray(np.rint(image * weight + background * (1.0 - weight)), dtype=np.uint8)


def _blazepose() -> PoseEstimator:
    from models.pose.blazepose import BlazePose  # noqa: PLC0415

    return BlazePose()


def _rtmpose() -> PoseEstimator:
    from models.pose.rtmpose import RtmPose  # noqa: PLC0415

    return RtmPose(RTMPOSE_M.read())


def _vitpose() -> PoseEstimator:
    from models.pose.vitpose import VitPose  # noqa: PLC0415

    return VitPose(VITPOSE_BASE.path())


def _mmpose() -> PoseEstimator:
    from models.pose.mmpose import mmpose_process  # noqa: PLC0415

    return mmpose_process(MMPOSE_PYTHON.path(), MMPOSE_CHECKPOINT.path())


OPENMMLAB = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1"
RTMPOSE_FILE = "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504"
BLAZEPOSE = PackagedFile("mediapipe", "mediapipe/modules/pose_landmark/pose_landmark_full.tflite", "Apache-2.0", 6.4)
RTMPOSE_M = ZippedFile(
    f"{RTMPOSE_FILE}.zip",
    f"{OPENMMLAB}/onnx_sdk/{RTMPOSE_FILE}.zip",
    "f7fbb6c5c11a1bb70f3d445e4ddec5d144ea89ad5649c081ef976f9b24a0b741",
    "Apache-2.0",
    54.3,
    ".onnx",
    "5c0a4bf67953e6d2ac43ce15e77dc9d5d354ae18430a47d2c5963a7bc5683e3c",
)
VITPOSE_BASE = HubModel(
    "usyd-community/vitpose-base-simple", "a93ac0c67e0b7e2c55287d21d4c460c8f3c54d45", "Apache-2.0", 343.7
)
MMPOSE_PYTHON = MmposePython()
MMPOSE_CHECKPOINT = OpenMmlabFile(
    f"{RTMPOSE_FILE}.pth", f"{OPENMMLAB}/{RTMPOSE_FILE}.pth", "e48f03d0", "Apache-2.0", 54.0
)
POSE_ESTIMATORS: Backends[PoseEstimator] = Backends(
    "pose estimator",
    {
        "blazepose": Backend(_blazepose, (BLAZEPOSE,)),
        "rtmpose-m": Backend(_rtmpose, (RTMPOSE_M,)),
        "vitpose-base": Backend(_vitpose, (VITPOSE_BASE,)),
        "mmpose": Backend(_mmpose, (MMPOSE_PYTHON, MMPOSE_CHECKPOINT)),
    },
)
