"""BlazeFace short range by TFLite: the face of one character, searched for where its silhouette has a head.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", arXiv 1907.05047. Its 896 anchors
are two to a cell of a 16 x 16 grid and six to a cell of an 8 x 8 grid. It finds cartoon faces, in profile too.
"""

from dataclasses import dataclass

import numpy as np

from models.face import BLAZEFACE, Box, Face, Image
from models.face.head import head_centre, silhouette_box
from models.face.tflite_network import Floats, TfliteNetwork, sigmoid, square_crop

INPUT_SIZE = 128
GRIDS = ((16, 2), (8, 6))
"""(cells a side, anchors a cell)."""
SEARCH_SHARES = (0.5, 0.75, 1.0)
"""Sides of the searched squares, in heights of the silhouette: a head is a third of a cartoon body, half of a bust."""
MIN_CONFIDENCE = 0.4
MIN_INSIDE = 0.5
"""Share of eyes, nose and mouth that must lie on the character: the face of somebody behind it does not count."""


@dataclass(frozen=True)
class Square:
    """A square of the frame: its centre and side in pixels."""

    centre: tuple[float, float]
    side: float


class BlazeFace:
    """A `FaceDetector` on MediaPipe's `face_detection_short_range.tflite` (229 KB)."""

    def __init__(self) -> None:
        self._network = TfliteNetwork(BLAZEFACE)
        self._anchors = anchor_centres()

    def find(self, image: Image, alpha: Image) -> Face | None:
        """Return the surest face on the character of `alpha`, or None where none is sure enough."""
        box = silhouette_box(alpha)
        if box is None:
            return None
        faces = [self._detect(image, square) for square in search_squares(box, alpha)]
        owned = [face for face in faces if face.confidence >= MIN_CONFIDENCE and lies_on(face, alpha)]
        return max(owned, key=lambda face: face.confidence, default=None)

    def _detect(self, image: Image, square: Square) -> Face:
        """Return the likeliest face in one square."""
        crop = square_crop(image, square.centre, square.side, INPUT_SIZE)
        regressors, logits = self._network(crop[None].astype(np.float32) / 127.5 - 1.0)
        scores = sigmoid(logits.reshape(-1))
        best = int(scores.argmax())
        values = regressors.reshape(-1, 8, 2)[best] / INPUT_SIZE  # centre, size, six points
        corner = np.array(square.centre, dtype=np.float32) - square.side / 2
        centre = corner + (values[0] + self._anchors[best]) * square.side
        half = values[1] * square.side / 2
        points = corner + (values[2:] + self._anchors[best]) * square.side
        (x0, y0), (x1, y1) = centre - half, centre + half
        return Face((float(x0), float(y0), float(x1), float(y1)), float(scores[best]), points.astype(np.float32))


def anchor_centres() -> Floats:
    """Return the centres of all anchors in 0..1 of the input, `(896, 2)`."""
    centres = [
        ((column + 0.5) / cells, (row + 0.5) / cells)
        for cells, anchors in GRIDS
        for row in range(cells)
        for column in range(cells)
        for _ in range(anchors)
    ]
    return np.array(centres, dtype=np.float32)


def search_squares(box: Box, alpha: Image) -> list[Square]:
    """Return squares of several sizes that hang from the top of the silhouette around its head."""
    height = box[3] - box[1]
    x, _ = head_centre(alpha, box)
    return [Square((x, box[1] + 0.4 * share * height), share * height) for share in SEARCH_SHARES]


def lies_on(face: Face, alpha: Image) -> bool:
    """Whether most of the face's points are on the silhouette."""
    columns = np.clip(face.points[:4, 0].astype(int), 0, alpha.shape[1] - 1)
    rows = np.clip(face.points[:4, 1].astype(int), 0, alpha.shape[0] - 1)
    return float((alpha[rows, columns] > 0).mean()) >= MIN_INSIDE
