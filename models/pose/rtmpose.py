"""RTMPose by onnxruntime: each keypoint's x and y are read off two rows of scores (SimCC).

Jiang et al., "RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose", arXiv 2303.07399; Li et al., "SimCC: a
Simple Coordinate Classification Perspective for Human Pose Estimation", arXiv 2107.03332. The network is OpenMMLab's
own export; cropping and decoding are a page, so they are done here and no package of them is needed.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.onnx_network import OnnxNetwork
from models.pose import COCO_KEYPOINTS, Box, Image, Keypoints
from models.pose.top_down import INPUT_HEIGHT, INPUT_WIDTH, Floats, crop_around

SPLIT_RATIO = 2.0
"""Score bins to an input pixel."""


class RtmPose:
    """A `PoseEstimator` on an RTMPose of 17 COCO keypoints and 192 x 256 input pixels.

    Args:
        model: the `.onnx` file or its bytes: input `input` `(N, 3, 256, 192)`, outputs `simcc_x` `(N, 17, 384)` and
            `simcc_y` `(N, 17, 512)`.

    Raises:
        ValueError: the model has other inputs and outputs.
    """

    def __init__(self, model: Path | bytes) -> None:
        self._network = OnnxNetwork(model, "input", ("simcc_x", "simcc_y"))

    def estimate(self, image: Image, box: Box) -> Keypoints:
        """Return `(17, 3)` COCO keypoints of the character in `box`: x, y in frame pixels, confidence 0..1.

        Raises:
            ValueError: the box is empty, or the network is of other keypoints or another input size.
        """
        crop = crop_around(box)
        across, down = self._network(crop.read(image))
        points, confidence = decode(across[0], down[0])
        return crop.to_frame(points, confidence)


def decode(across: Floats, down: Floats) -> tuple[NDArray[np.float64], Floats]:
    """Return points `(17, 2)` in input pixels and confidences `(17,)` from scores `(17, 384)` in x, `(17, 512)` in y.

    A keypoint is as sure as the less sure of its two coordinates.

    Raises:
        ValueError: the scores have another shape.
    """
    keypoints = len(COCO_KEYPOINTS)
    expected = ((keypoints, int(SPLIT_RATIO * INPUT_WIDTH)), (keypoints, int(SPLIT_RATIO * INPUT_HEIGHT)))
    if (across.shape, down.shape) != expected:
        message = f"the network gives scores of shape {across.shape} and {down.shape}, not {expected[0]} and "
        message += f"{expected[1]}: take an RTMPose of 17 COCO keypoints and 192x256 input pixels"
        raise ValueError(message)
    bins = np.column_stack([across.argmax(axis=1), down.argmax(axis=1)])
    return bins / SPLIT_RATIO, np.minimum(across.max(axis=1), down.max(axis=1))
