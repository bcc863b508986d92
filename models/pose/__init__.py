"""Where the joints of a character are: one protocol, and its backends by their config names.

| name        | backend                                                   | weights                          |
|-------------|-----------------------------------------------------------|----------------------------------|
| `blazepose` | BlazePose GHUM full, TFLite on the CPU, ~60 ms a character | `mediapipe` (PyPI), Apache-2.0  |
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.weights import PackagedFile

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


BLAZEPOSE = PackagedFile("mediapipe", "mediapipe/modules/pose_landmark/pose_landmark_full.tflite", "Apache-2.0", 6.4)
POSE_ESTIMATORS: Backends[PoseEstimator] = Backends("pose estimator", {"blazepose": Backend(_blazepose, (BLAZEPOSE,))})
