"""Expressions from the mouth's shape on MediaPipe's face mesh, which reads frontal cartoon faces as well as people's.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", arXiv 1907.06724. The mesh
says by itself whether a frontal face is there; in profile it does not, and the answer is "unknown". Mouths tell happy,
surprised, sad and neutral; anger and fear sit in the brows, where the mesh of a cartoon face is too coarse: an angry
face with a calm mouth is called neutral.
"""

from dataclasses import dataclass

import numpy as np

from models.face import FACEMESH, NO_FACE, Box, Expression, ExpressionGuess, Face, Image
from models.face.tflite_network import Floats, TfliteNetwork, sigmoid, square_crop

INPUT_SIZE = 192
CROP_SCALES = (1.3, 1.5, 1.8)
"""Sides of the crops in sides of the face box; MediaPipe's own is 1.5."""
MAX_ROLL = np.radians(8.0)
"""A head tilted by more is read again upright."""
MIN_PRESENCE = 0.5
EYE_CORNERS = (33, 263)
CHEEKS = (234, 454)
MOUTH_CORNERS = (61, 291)
OUTER_LIPS, INNER_LIPS = (0, 17), (13, 14)


@dataclass(frozen=True)
class Reading:
    """What the network sees in one crop.

    Attributes:
        presence: whether a face is there, 0..1.
        mesh: `(468, 3)` in crop pixels, depth in the same unit, smaller is nearer.
    """

    presence: float
    mesh: Floats

    @property
    def yaw(self) -> float:
        """Degrees by which the face is turned, positive towards the picture's right."""
        across = self.mesh[CHEEKS[1]] - self.mesh[CHEEKS[0]]
        return float(np.degrees(np.arctan2(across[2], across[0])))


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

    def label(self, image: Image, alpha: Image, face: Face) -> ExpressionGuess:  # noqa: ARG002
        """Return the expression of the frontal face in the face's box, "unknown" where there is none."""
        return guess_of(self.read(image, face.box))

    def read(self, image: Image, face_box: Box) -> Reading:
        """Return what is seen of the face in `face_box`, in the crop of it that shows a face most surely."""
        return max((self._read(image, face_box, scale) for scale in CROP_SCALES), key=lambda reading: reading.presence)

    def infer(self, crop: Image) -> Reading:
        """Return what is seen in one crop, `(192, 192, 3)` RGB uint8."""
        landmarks, presence = self._network(crop[None].astype(np.float32) / 255.0)
        return Reading(float(sigmoid(presence.reshape(-1))[0]), landmarks.reshape(468, 3))

    def _read(self, image: Image, face_box: Box, scale: float) -> Reading:
        """Read one crop, turned upright."""
        centre = ((face_box[0] + face_box[2]) / 2, (face_box[1] + face_box[3]) / 2)
        side = scale * max(face_box[2] - face_box[0], face_box[3] - face_box[1], 1.0)
        reading = self.infer(square_crop(image, centre, side, INPUT_SIZE))
        across = reading.mesh[EYE_CORNERS[1]] - reading.mesh[EYE_CORNERS[0]]
        roll = float(np.arctan2(across[1], across[0]))
        if abs(roll) > MAX_ROLL:
            return self.infer(square_crop(image, centre, side, INPUT_SIZE, roll))
        return reading


def guess_of(reading: Reading) -> ExpressionGuess:
    """Return the expression that an upright frontal face's mouth shows, "unknown" where no face is."""
    if reading.presence < MIN_PRESENCE:
        return NO_FACE
    scores = expression_scores(mouth_shape(reading.mesh[:, :2]))
    label = max(scores, key=lambda name: scores[name])
    return ExpressionGuess(label, scores[label] * reading.presence, scores)


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
