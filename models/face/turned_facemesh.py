"""`facemesh`, and smiles on heads that look aside: the head is turned back on a ball until the mesh sees a front.

The mesh knows faces from the front only. From a head that looks aside it is shown several views turned back by
different angles; the mesh itself says in which of them it sees a front. What such a view keeps is the near corner of
the mouth, raised and wide where somebody smiles; sadness, surprise and anger are too slight to outlast the turning, so
a turned head is happy or unknown. Past pure profile nothing of the mouth is left, and mostly no view is believed.
"""

import numpy as np

from models.face import Expression, ExpressionGuess, Face, Image
from models.face.facemesh import (
    CHEEKS,
    EYE_CORNERS,
    INPUT_SIZE,
    MIN_PRESENCE,
    MOUTH_CORNERS,
    OUTER_LIPS,
    SMILE_LIFT,
    SMILE_WIDTH,
    FaceMesh,
    Reading,
    guess_of,
)
from models.face.head_sphere import head_sphere
from models.pose import isolate

TURNS = (15.0, 30.0, 45.0, 60.0)
REACHES = (1.35, 1.6)
"""Half sides of the views, in radii of the head."""
FRONT_YAW = 25.0
"""Degrees: a face that the mesh sees turned by less is read as it is."""
BELIEVED_YAW = 20.0
"""Degrees: a view in which the mesh sees the face turned by more was turned by too little or too much."""
MIN_FRONTS = 2
"""Views that must show a front: past pure profile one of them does by chance."""
FOREHEAD, CHIN = 10, 152
SURE = 0.5


class TurnedFaceMesh:
    """An `ExpressionLabeler` on MediaPipe's `face_landmark.tflite` (1.2 MB, ~10 ms a frontal face, ~80 ms another)."""

    def __init__(self) -> None:
        self._mesh = FaceMesh()

    def label(self, image: Image, alpha: Image, face: Face) -> ExpressionGuess:
        """Return the expression of the face, "unknown" where none can be read."""
        straight = self._mesh.read(image, face.box)
        guess = guess_of(straight)
        if guess.label == "happy" or (straight.presence >= MIN_PRESENCE and abs(straight.yaw) <= FRONT_YAW):
            return guess
        smile = self._smile(image, alpha, face)
        if smile is None or (smile < SURE and guess.scores):
            return guess
        scores: dict[Expression, float] = {"happy": smile, "unknown": 1.0 - smile}
        return ExpressionGuess("happy" if smile >= SURE else "unknown", max(smile, 1.0 - smile), scores)

    def _smile(self, image: Image, alpha: Image, face: Face) -> float | None:
        """Return how surely a turned head smiles, 0..1; None where too few views of it show a front."""
        sphere = head_sphere(face, alpha)
        if sphere is None:
            return None
        alone = isolate(image, alpha)
        views = [sphere.turned_back(alone, turn, reach, INPUT_SIZE) for turn in TURNS for reach in REACHES]
        readings = [self._mesh.infer(view) for view in views]
        fronts = [each for each in readings if each.presence > MIN_PRESENCE and abs(each.yaw) <= BELIEVED_YAW]
        if len(fronts) < MIN_FRONTS:
            return None
        return float(np.average([smile_of(each) for each in fronts], weights=[each.presence for each in fronts]))


def smile_of(reading: Reading) -> float:
    """Return how surely the near corner of the mouth smiles, 0..1; the view is of a head that looked to the right.

    Measured along the head's own axes, so that a few degrees of turn or tilt that are left do not matter.
    """
    mesh = reading.mesh
    across = unit(mesh[CHEEKS[1]] - mesh[CHEEKS[0]])
    down = mesh[CHIN] - mesh[FOREHEAD]
    down = unit(down - across * float(down @ across))
    eyes = max(float(np.linalg.norm(mesh[EYE_CORNERS[1]] - mesh[EYE_CORNERS[0]])), 1e-3)
    near, far = mesh[list(MOUTH_CORNERS)]
    lift = float((mesh[list(OUTER_LIPS)].mean(axis=0) - near) @ down) / eyes
    width = float(np.linalg.norm(far - near)) / eyes
    return SMILE_LIFT.above(lift) * SMILE_WIDTH.above(width)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector of length one."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), dtype=np.float32)
