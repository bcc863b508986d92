"""A face from the pose: nose, eyes and ears of a skeleton place it, where a face detector sees none.

A pose network sees the whole figure, and so a head that is dark, small or unlike a person's. It is less exact than a
face detector: its mouth is where the nose and the eyes say that one would be.
"""

import numpy as np
from numpy.typing import NDArray

from models.face import Box, Face, Image
from models.face.head import head_top, silhouette_box
from models.pose import Keypoints, PoseEstimator, isolate

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = range(5)
FACE_POINTS = slice(0, 5)
MIN_CONFIDENCE = 0.3
"""Mean confidence of nose, eyes and ears below which there is no face."""
HAIR_SHARE = 0.25
"""Share of the head, from its top, that is hair and forehead; the face's box begins below."""
HEAD_OF_NOSE = 1.6
"""Height of a head in the distance from its top down to the nose."""
MOUTH_BELOW = 0.9
"""How far the mouth lies below the nose, in the distance from the eyes down to the nose."""


class PoseHead:
    """A `FaceDetector` on any pose estimator."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator

    def find(self, image: Image, alpha: Image) -> Face | None:
        """Return the face where the pose of the character of `alpha` has one, or None where it is not sure."""
        box = silhouette_box(alpha)
        if box is None:
            return None
        keypoints = self._estimator.estimate(isolate(image, alpha), box)
        confidence = float(keypoints[FACE_POINTS, 2].mean())
        if confidence < MIN_CONFIDENCE:
            return None
        return face_of(keypoints, alpha, confidence)


def face_of(keypoints: Keypoints, alpha: Image, confidence: float) -> Face:
    """Return the face that `(17, 3)` COCO keypoints and the silhouette's top above them outline."""
    points = keypoints[FACE_POINTS, :2]
    nose, eyes = points[NOSE], points[[RIGHT_EYE, LEFT_EYE]]
    box = face_box(points, head_top(alpha, float(points[:, 0].mean()), float(points[:, 1].min())))
    mouth = nose + MOUTH_BELOW * (nose - eyes.mean(axis=0)) * (0.0, 1.0)
    six = np.stack([eyes[0], eyes[1], nose, mouth, points[RIGHT_EAR], points[LEFT_EAR]])
    return Face(box, confidence, six.astype(np.float32))


def face_box(points: NDArray[np.float32], top: float) -> Box:
    """Return the square from the brows to the chin around nose, eyes and ears `(5, 2)`, of a head that begins at `top`.

    In profile the points crowd together across; the head's height does not change, so it gives the scale.
    """
    head = max(HEAD_OF_NOSE * (float(points[NOSE, 1]) - top), float(np.ptp(points[:, 0])), 1.0)
    side = (1 - HAIR_SHARE) * head
    x = float(points[:, 0].mean())
    y0 = top + HAIR_SHARE * head
    return x - side / 2, y0, x + side / 2, y0 + side
