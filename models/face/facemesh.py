"""Expressions from the mouth's shape on MediaPipe's face mesh, which reads frontal cartoon faces as well as people's.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", arXiv 1907.06724. The mesh
says by itself whether a frontal face is there; in profile it does not, and the answer is "unknown". Mouths tell happy,
surprised, sad and neutral; anger and fear sit in the brows, where the mesh of a cartoon face is too coarse: an angry
face with a calm mouth is called neutral.
"""

from dataclasses import dataclass

import numpy as np

from models.face import FACEMESH, NO_FACE, Box, Expression, ExpressionGuess, Image
from models.face.tflite_network import Floats, TfliteNetwork, sigmoid, square_crop

INPUT_SIZE = 192
CROP_SCALES = (1.3, 1.5, 1.8)
"""Sides of the crops in sides of the face box; MediaPipe's own is 1.5."""
MAX_ROLL = np.radians(8.0)
"""A head tilted by more is read again upright."""
MIN_PRESENCE = 0.5
EYE_CORNERS = (33, 263)
MOUTH_CORNERS = (61, 291)
OUTER_LIPS, INNER_LIPS = (0, 17), (13, 14)


@dataclass(frozen=True)
class MouthShape:
    """A mouth, in distances between the outer corners of the eyes."""

    width: float
    lift: float
    """How far its corners lie above the middle of the lips."""
    opening: float
    """How far the inner lips are apart."""


@dataclass(frozen=True)
class Threshold:
    """A soft limit: .5 at `at`, and .88 (or .12) two `width`s beyond."""

    at: float
    width: float

    def above(self, value: float) -> float:
        """Return how surely `value` exceeds the limit, 0..1."""
        return float(sigmoid(np.array((value - self.at) / self.width, dtype=np.float32)))

    def below(self, value: float) -> float:
        """Return how surely `value` stays under the limit, 0..1."""
        return 1.0 - self.above(value)


SMILE_LIFT, SMILE_WIDTH = Threshold(0.055, 0.012), Threshold(0.6, 0.03)
"""A calm mouth is half as wide as the eyes are apart, a smile two thirds and more, with its corners raised."""
ROUND_WIDTH, ROUND_OPENING = Threshold(0.52, 0.02), Threshold(0.028, 0.006)
DROOP_LIFT, DROOP_OPENING = Threshold(-0.014, 0.005), Threshold(0.03, 0.008)


class FaceMesh:
    """An `ExpressionLabeler` on MediaPipe's `face_landmark.tflite` (1.2 MB, ~10 ms a face)."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(FACEMESH)

    def label(self, image: Image, face_box: Box) -> ExpressionGuess:
        """Return the expression of the frontal face in `face_box`, "unknown" where there is none."""
        readings = [self._read(image, face_box, scale) for scale in CROP_SCALES]
        presence, mesh = max(readings, key=lambda reading: reading[0])
        if presence < MIN_PRESENCE:
            return NO_FACE
        scores = expression_scores(mouth_shape(mesh))
        label = max(scores, key=lambda name: scores[name])
        return ExpressionGuess(label, scores[label] * presence, scores)

    def _read(self, image: Image, face_box: Box, scale: float) -> tuple[float, Floats]:
        """Return (presence 0..1, mesh `(468, 2)` in crop pixels), of the crop turned upright."""
        centre = ((face_box[0] + face_box[2]) / 2, (face_box[1] + face_box[3]) / 2)
        side = scale * max(face_box[2] - face_box[0], face_box[3] - face_box[1], 1.0)
        presence, mesh = self._infer(square_crop(image, centre, side, INPUT_SIZE))
        across = mesh[EYE_CORNERS[1]] - mesh[EYE_CORNERS[0]]
        roll = float(np.arctan2(across[1], across[0]))
        if abs(roll) > MAX_ROLL:
            return self._infer(square_crop(image, centre, side, INPUT_SIZE, roll))
        return presence, mesh

    def _infer(self, crop: Image) -> tuple[float, Floats]:
        landmarks, presence = self._network(crop[None].astype(np.float32) / 255.0)
        return float(sigmoid(presence.reshape(-1))[0]), landmarks.reshape(468, 3)[:, :2]


def mouth_shape(mesh: Floats) -> MouthShape:
    """Measure the mouth of an upright `(468, 2)` mesh."""
    eyes = max(float(np.linalg.norm(mesh[EYE_CORNERS[1]] - mesh[EYE_CORNERS[0]])), 1e-3)
    corners, lips = mesh[list(MOUTH_CORNERS)], mesh[list(OUTER_LIPS)]
    return MouthShape(
        width=float(np.linalg.norm(corners[1] - corners[0])) / eyes,
        lift=float(lips[:, 1].mean() - corners[:, 1].mean()) / eyes,
        opening=float(mesh[INNER_LIPS[1], 1] - mesh[INNER_LIPS[0], 1]) / eyes,
    )


def expression_scores(mouth: MouthShape) -> dict[Expression, float]:
    """Return a score 0..1 for each expression that a mouth shows; they sum to one."""
    happy = SMILE_LIFT.above(mouth.lift) * SMILE_WIDTH.above(mouth.width)
    surprised = ROUND_OPENING.above(mouth.opening) * ROUND_WIDTH.below(mouth.width) * (1.0 - happy)
    sad = DROOP_LIFT.below(mouth.lift) * DROOP_OPENING.below(mouth.opening) * (1.0 - surprised)
    neutral = (1.0 - happy) * (1.0 - surprised) * (1.0 - sad)
    total = max(happy + surprised + sad + neutral, 1e-6)
    return {
        "neutral": neutral / total,
        "happy": happy / total,
        "sad": sad / total,
        "surprised": surprised / total,
    }
