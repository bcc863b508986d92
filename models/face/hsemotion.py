"""Eight expressions by HSEmotion's EfficientNet-B0 on onnxruntime.

Savchenko, "HSEmotion: High-Speed Emotion Recognition Library", Software Impacts 14, 2022; the file is of EmotiEffLib,
https://github.com/sb-ai-lab/EmotiEffLib. It was taught by photographs of AffectNet, which is for non-commercial use.
"""

from pathlib import Path

import numpy as np

from models.face import Expression, ExpressionGuess, Face, Image
from models.face.tflite_network import square_crop
from models.normalise import IMAGENET, normalise_picture
from models.onnx_network import Floats, OnnxNetwork

INPUT_SIZE = 224
CROP_SCALE = 1.3
"""Side of the crop in sides of the face's box: the faces it was taught by have forehead and chin."""
CLASSES: tuple[Expression, ...] = (
    "angry",
    "unknown",
    "disgusted",
    "afraid",
    "happy",
    "neutral",
    "sad",
    "surprised",
)
"""In the network's order; its second is contempt, for which we have no word: such a face is unknown."""
MIN_CONFIDENCE = 0.5
"""Probability of the likeliest expression below which the answer is "unknown"."""


class HsEmotion:
    """An `ExpressionLabeler` on `enet_b0_8_best_afew.onnx` (15 MB).

    Args:
        model: the file: input `input` `(N, 3, 224, 224)`, one output `(N, 8)`.

    Raises:
        ValueError: the model has another input.
    """

    def __init__(self, model: Path) -> None:
        self._network = OnnxNetwork(model, "input")

    def label(self, image: Image, alpha: Image, face: Face) -> ExpressionGuess:  # noqa: ARG002
        """Return the likeliest expression in the face's box, "unknown" where none is likely.

        Raises:
            ValueError: the network knows another number of expressions.
        """
        (logits,) = self._network(picture_of(image, face))
        if logits.shape != (1, len(CLASSES)):
            message = (
                f"the network gives {logits.shape}, not {(1, len(CLASSES))}: take HSEmotion's of eight expressions"
            )
            raise ValueError(message)
        exponents = np.exp(logits[0] - logits[0].max())
        scores = {name: float(score) for name, score in zip(CLASSES, exponents / exponents.sum(), strict=True)}
        likeliest = max(scores, key=lambda name: scores[name])
        label = likeliest if scores[likeliest] >= MIN_CONFIDENCE else "unknown"
        return ExpressionGuess(label, scores[likeliest], scores)


def picture_of(image: Image, face: Face) -> Floats:
    """Return the face as the network reads it, `(1, 3, 224, 224)`."""
    x0, y0, x1, y1 = face.box
    side = CROP_SCALE * max(x1 - x0, y1 - y0, 1.0)
    crop = square_crop(image, ((x0 + x1) / 2, (y0 + y1) / 2), side, INPUT_SIZE)
    return normalise_picture(crop, IMAGENET)[None]
