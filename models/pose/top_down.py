"""What all top-down pose networks share: the crop of one character's box that they read, and the way back.

The box is widened to the network's shape and by a quarter, as in Xiao et al., "Simple Baselines for Human Pose
Estimation and Tracking", arXiv 1804.06208. What lies beyond the frame is black.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.normalise import IMAGENET, normalise_picture
from models.pose import Box, Image, Keypoints

Floats = NDArray[np.float32]
INPUT_WIDTH, INPUT_HEIGHT = 192, 256
PADDING = 1.25


@dataclass(frozen=True)
class Crop:
    """A window of the frame, upright, in the shape of the network's input.

    Attributes:
        centre: x, y in frame pixels.
        size: width and height in frame pixels.
        span: width and height in input pixels that the window is mapped onto: those of the input, or one less where
            pixels are counted from centre to centre (Huang et al., "The Devil is in the Details: Delving into
            Unbiased Data Processing for Human Pose Estimation", arXiv 1911.07524).
    """

    centre: tuple[float, float]
    size: tuple[float, float]
    span: tuple[float, float]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The `(2, 3)` map from frame to input pixels."""
        zoom_x, zoom_y = self.span[0] / self.size[0], self.span[1] / self.size[1]
        x0, y0 = self.centre[0] - self.size[0] / 2, self.centre[1] - self.size[1] / 2
        return np.array([[zoom_x, 0.0, -zoom_x * x0], [0.0, zoom_y, -zoom_y * y0]])

    def read(self, image: Image) -> Floats:
        """Return the normalised window of an `(H, W, 3)` RGB uint8 frame as a batch `(1, 3, 256, 192)`."""
        window = cv2.warpAffine(image, self.matrix, (INPUT_WIDTH, INPUT_HEIGHT), flags=cv2.INTER_LINEAR)
        return normalise_picture(np.asarray(window, np.uint8), IMAGENET)[None]

    def to_frame(self, points: NDArray[np.floating], confidence: NDArray[np.floating]) -> Keypoints:
        """Return `(17, 3)` keypoints in frame pixels from `(17, 2)` input pixels and confidences, cut to 0..1."""
        scale = np.array(self.size) / np.array(self.span)
        corner = np.array(self.centre) - np.array(self.size) / 2
        found = points * scale + corner
        return np.column_stack([found, np.clip(confidence, 0.0, 1.0)]).astype(np.float32)


def crop_around(box: Box, span: tuple[float, float] = (INPUT_WIDTH, INPUT_HEIGHT)) -> Crop:
    """Return the window around a character's box.

    Raises:
        ValueError: the box is empty.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    if width <= 0 or height <= 0:
        message = f"box {box} is empty: x1 > x0 and y1 > y0 are required"
        raise ValueError(message)
    shape = INPUT_WIDTH / INPUT_HEIGHT
    width, height = max(width, shape * height), max(height, width / shape)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return Crop(centre, (PADDING * width, PADDING * height), span)
