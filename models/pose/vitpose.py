"""ViTPose by transformers: a heatmap a keypoint, read to a fraction of a cell.

Xu et al., "ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation", arXiv 2204.12484; the peak is
refined as in Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation" (DARK), arXiv
1910.06278. Its image processor would want torchvision; the crop and the decoding are done here.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import VitPoseForPoseEstimation

from models.pose import COCO_KEYPOINTS, Box, Image, Keypoints
from models.pose.top_down import INPUT_HEIGHT, INPUT_WIDTH, Floats, crop_around
from models.transformers_network import load_network

SPAN = (INPUT_WIDTH - 1.0, INPUT_HEIGHT - 1.0)
BLUR_CELLS, BLUR_SIGMA = 11, 0.8
MIN_HEAT = 1e-3
"""Heat below this is noise and would make a steep logarithm."""
CURVATURE_FLOOR = 1e-6


class VitPose:
    """A `PoseEstimator` on a ViTPose of 17 COCO keypoints and 192 x 256 input pixels.

    Args:
        folder: with `config.json` and `model.safetensors`.

    Raises:
        MissingWeights: the file lacks tensors of the network.
        ValueError: the model is of other keypoints.
    """

    def __init__(self, folder: Path) -> None:
        self._network = load_network(VitPoseForPoseEstimation, folder)
        if self._network.config.num_labels != len(COCO_KEYPOINTS):
            message = f"{folder.name} is a ViTPose of {self._network.config.num_labels} keypoints, not of COCO's "
            message += f"{len(COCO_KEYPOINTS)}: take one of them, such as vitpose-base-simple"
            raise ValueError(message)

    def estimate(self, image: Image, box: Box) -> Keypoints:
        """Return `(17, 3)` COCO keypoints of the character in `box`: x, y in frame pixels, confidence 0..1.

        Raises:
            ValueError: the box is empty.
        """
        crop = crop_around(box, SPAN)
        with torch.inference_mode():
            answer = self._network(torch.from_numpy(crop.read(image)).to(self._network.device))
        heat = answer.heatmaps[0].float().cpu().numpy()  # (17, 64, 48)
        rows, columns = heat.shape[1:]
        cells = np.array([SPAN[0] / (columns - 1), SPAN[1] / (rows - 1)])
        return crop.to_frame(np.array([peak(each) for each in heat]) * cells, heat.max(axis=(1, 2)))


def peak(heat: Floats) -> NDArray[np.float64]:
    """Return x, y of the top of one `(rows, columns)` heatmap, in cells, by one Newton step from its hottest cell.

    Around its top a heatmap is a Gaussian; its logarithm is a parabola, so the step lands on the top.
    """
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    smooth = cv2.GaussianBlur(heat, (BLUR_CELLS, BLUR_CELLS), BLUR_SIGMA, borderType=cv2.BORDER_REFLECT)
    logs = np.pad(np.log(np.maximum(smooth, MIN_HEAT)), 1, mode="edge").astype(np.float64)
    near = logs[row : row + 3, column : column + 3]
    slope = np.array([near[1, 2] - near[1, 0], near[2, 1] - near[0, 1]]) / 2
    across, down = (near[1, 2] + near[1, 0] - 2 * near[1, 1], near[2, 1] + near[0, 1] - 2 * near[1, 1])
    mixed = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
    curvature = np.array([[across, mixed], [mixed, down]])
    start = np.array([column, row], np.float64)
    if np.linalg.det(curvature) < CURVATURE_FLOOR or across >= 0:  # flat, or no top: a cell is all that is known
        return start
    return np.asarray(start - np.clip(np.linalg.solve(curvature, slope), -1.0, 1.0), np.float64)
