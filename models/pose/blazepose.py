"""BlazePose full by TFLite: 33 landmarks from a square crop, read from several crops and cut down to COCO's 17.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", arXiv 2006.10204; the layout of the outputs is
MediaPipe's (https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker).

The network was trained on photographs of people. On cartoon bodies one crop is not enough: it loses the legs when the
head is large. So each character is read in six crops (three sizes, each also mirrored); the one that the network
believes in most is kept, and the disagreement of the others lowers the confidence.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.pose import BLAZEPOSE, Box, Image, Keypoints

INPUT_SIZE = 256
CROP_SCALES = (1.25, 1.5, 1.8)
BLAZE_TO_COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
MIRRORED_COCO = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
ANKLES = (15, 16)
DISAGREEMENT_LIMIT = 0.2
"""Median distance between crops, in box heights, at which nothing of a keypoint's confidence is left."""
EDGE_SHARE = 0.01
IMPLAUSIBLE = 0.1
"""What is left of the confidence when the whole figure contradicts the frame."""
BOX_MARGIN = 0.15
SQUEEZE_MARGIN = 0.03


@dataclass(frozen=True)
class View:
    """What the network read in one crop: `(17, 3)` keypoints in frame pixels, and whether anyone was there (0..1)."""

    keypoints: Keypoints
    presence: float

    @property
    def belief(self) -> float:
        """Return how much the network believes in this reading, 0..1."""
        return self.presence * float(self.keypoints[:, 2].mean())


class BlazePose:
    """A `PoseEstimator` on MediaPipe's `pose_landmark_full.tflite` (6.4 MB, ~60 ms a character on one core)."""

    def __init__(self) -> None:
        self._network = Interpreter(str(BLAZEPOSE.path()), num_threads=1)
        self._network.allocate_tensors()
        self._input = self._network.get_input_details()[0]["index"]
        outputs = self._network.get_output_details()
        self._landmarks, self._presence = outputs[0]["index"], outputs[1]["index"]

    def estimate(self, image: Image, box: Box) -> Keypoints:
        """Return `(17, 3)` COCO keypoints of the character in `box`: x, y in frame pixels, confidence 0..1.

        Raises:
            ValueError: the box is empty.
        """
        height = box[3] - box[1]
        if height <= 0 or box[2] <= box[0]:
            message = f"box {box} is empty: x1 > x0 and y1 > y0 are required"
            raise ValueError(message)
        views = [self._read(image, box, scale, mirrored) for scale in CROP_SCALES for mirrored in (False, True)]
        best = max(views, key=lambda view: view.belief)
        keypoints = best.keypoints.copy()
        agreement = np.clip(1.0 - disagreement(best, views) / (DISAGREEMENT_LIMIT * height), 0.0, 1.0)
        keypoints[:, 2] *= best.presence * agreement
        keypoints[:, 2] *= plausibility(keypoints, box, (image.shape[0], image.shape[1]))
        return keypoints

    def _read(self, image: Image, box: Box, scale: float, mirrored: bool) -> View:
        """Read one square crop of `scale` x the box's longer side."""
        to_crop = crop_matrix(box, scale, mirrored)
        crop = cv2.warpAffine(image, to_crop, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
        self._network.set_tensor(self._input, crop[None].astype(np.float32) / 255.0)
        self._network.invoke()
        landmarks = self._network.get_tensor(self._landmarks).reshape(39, 5)[list(BLAZE_TO_COCO)]
        presence = float(self._network.get_tensor(self._presence).ravel()[0])
        to_frame = cv2.invertAffineTransform(to_crop)
        points = landmarks[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
        visibility = 1.0 / (1.0 + np.exp(-landmarks[:, 3:4]))
        keypoints = np.concatenate([points, visibility], axis=1).astype(np.float32)
        return View(keypoints[list(MIRRORED_COCO)] if mirrored else keypoints, presence)


def crop_matrix(box: Box, scale: float, mirrored: bool) -> NDArray[np.float64]:
    """Return the `(2, 3)` map from frame to crop pixels; a mirrored crop swaps left and right."""
    zoom = INPUT_SIZE / (scale * max(box[2] - box[0], box[3] - box[1]))
    across = -zoom if mirrored else zoom
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = INPUT_SIZE / 2
    return np.array([[across, 0.0, half - across * centre_x], [0.0, zoom, half - zoom * centre_y]])


def disagreement(best: View, views: list[View]) -> NDArray[np.float64]:
    """Return for each keypoint the median distance of all views to the best, in pixels, `(17,)`.

    Which leg is the left one is a coin toss in profile, so a view may agree with its sides swapped.
    """
    distances = []
    for view in views:
        direct = np.linalg.norm(view.keypoints[:, :2] - best.keypoints[:, :2], axis=1)
        swapped = np.linalg.norm(view.keypoints[list(MIRRORED_COCO), :2] - best.keypoints[:, :2], axis=1)
        distances.append(min(direct, swapped, key=lambda each: float(each.mean())))
    return np.asarray(np.median(distances, axis=0), dtype=np.float64)


def plausibility(keypoints: Keypoints, box: Box, frame_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return a factor 0..1 for each keypoint's confidence from what box and frame allow, `(17,)`.

    A point beyond the frame or the box was guessed, not seen. A figure that the frame's lower edge cuts has its feet
    outside: when they are found inside, the network squeezed a whole body into a bust, and no joint is right.
    """
    frame_height, frame_width = frame_size
    x, y = keypoints[:, 0], keypoints[:, 1]
    margin = BOX_MARGIN * max(box[2] - box[0], box[3] - box[1])
    in_frame = (x >= 0) & (x < frame_width) & (y >= 0) & (y < frame_height)
    in_box = (x >= box[0] - margin) & (x < box[2] + margin) & (y >= box[1] - margin) & (y < box[3] + margin)
    factor = (in_frame & in_box).astype(np.float64)
    cut_by_frame = box[3] >= frame_height * (1 - EDGE_SHARE)
    feet = float(y[list(ANKLES)].max())
    squeezed = cut_by_frame and feet < frame_height + SQUEEZE_MARGIN * (box[3] - box[1])
    return factor * IMPLAUSIBLE if squeezed else factor
