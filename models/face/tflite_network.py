"""One TFLite network on one CPU thread, and the square crops that such networks read."""

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.face import Image
from models.weights import PackagedFile

Floats = NDArray[np.float32]


class TfliteNetwork:
    """A network with one input."""

    def __init__(self, file: PackagedFile) -> None:
        self._network = Interpreter(str(file.path()), num_threads=1)
        self._network.allocate_tensors()
        self._input = self._network.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._network.get_output_details()]

    def __call__(self, values: Floats) -> list[Floats]:
        """Return all outputs for one input `(1, ...)` float32."""
        self._network.set_tensor(self._input, values)
        self._network.invoke()
        return [self._network.get_tensor(index) for index in self._outputs]


def square_crop(image: Image, centre: tuple[float, float], side: float, size: int, roll: float = 0.0) -> Image:
    """Return the square of `side` pixels around `centre`, turned upright by `roll` radians, as `(size, size, 3)`."""
    return np.asarray(
        cv2.warpAffine(
            image,
            crop_matrix(centre, side, size, roll),
            (size, size),
            flags=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )


def crop_matrix(centre: tuple[float, float], side: float, size: int, roll: float = 0.0) -> NDArray[np.float64]:
    """Return the `(2, 3)` map from frame to crop pixels."""
    zoom = size / side
    cosine, sine = zoom * np.cos(roll), zoom * np.sin(roll)
    x, y = centre
    half = size / 2
    return np.array([[cosine, sine, half - cosine * x - sine * y], [-sine, cosine, half + sine * x - cosine * y]])


def sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), element by element."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))), dtype=np.float32)
