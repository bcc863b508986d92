"""A head as a ball: from the picture of one that looks aside, the picture of it turned towards the camera.

The ball is laid against the silhouette on the side to which the head looks. Turned back, its near half is seen whole;
the far half, which the picture hides, is the near one mirrored. So faces are brought to the front with one rigid shape
for all of them and the far side by symmetry, as in Hassner et al., "Effective Face Frontalization in Unconstrained
Images", arXiv 1411.7964; a ball fits cartoon heads, whose proportions no scanned face has.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face import Face, Image
from models.face.tflite_network import Floats

RADIUS = 0.7
"""Of the ball, in sides of the face's box, which reaches from the brows to the chin."""
SHIFTS = np.linspace(-0.2, 0.2, 9)
"""Heights of the ball's centre that are tried, in sides of the box below the box's middle."""
MIN_EDGE_ROWS = 8
MAX_MISFIT = 0.08
"""Mean distance of the silhouette's edge to the ball, in sides of the box, beyond which the head is not round."""
GRAZING = 0.15
"""Cosine to the camera under which the surface is seen too slantingly to be copied."""
BACKGROUND = 128
"""Grey around the ball."""
INSIDE = 127


@dataclass(frozen=True)
class HeadSphere:
    """A head's ball in a frame.

    Attributes:
        centre: x, y in frame pixels.
        radius: frame pixels.
        facing: 1 where the head looks to the picture's right, -1 to its left.
    """

    centre: tuple[float, float]
    radius: float
    facing: int

    def turned_back(self, image: Image, degrees: float, reach: float, size: int) -> Image:
        """Return the head as it looks when it turns by `degrees` towards the camera, `(size, size, 3)` RGB uint8.

        A head that looks to the left comes out mirrored, as if it had looked to the right.

        Args:
            image: `(H, W, 3)` RGB uint8.
            degrees: 0 to 90.
            reach: half the side of what is shown, in radii.
            size: pixels.
        """
        across, down, depth = ball(reach, size)
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        hidden = cosine * depth - sine * across < GRAZING
        mirrored = np.where(hidden, -across, across)
        # pixel n reaches from n to n + 1, and its own value stands in its middle
        from_x = self.centre[0] + self.facing * self.radius * (cosine * mirrored + sine * depth) - 0.5
        from_y = self.centre[1] + self.radius * down - 0.5
        view = cv2.remap(
            image,
            from_x.astype(np.float32),
            from_y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        view[across**2 + down**2 > 1] = BACKGROUND
        return np.asarray(view, np.uint8)


def ball(reach: float, size: int) -> tuple[Floats, Floats, Floats]:
    """Return x, y and depth (towards the camera) on the unit ball of a square's pixels, each `(size, size)`."""
    line = (np.arange(size, dtype=np.float32) + 0.5 - size / 2) / (size / 2) * np.float32(reach)
    across, down = np.meshgrid(line, line)
    return across, down, np.sqrt(np.maximum(1 - across**2 - down**2, 0))


def head_sphere(face: Face, alpha: Image) -> HeadSphere | None:
    """Return the ball whose edge best follows the silhouette before the face; None where no ball does.

    Args:
        face: in frame pixels.
        alpha: `(H, W)` uint8, 255 inside the character.
    """
    facing = 1 if face.points[:4, 0].mean() >= face.points[4:, 0].mean() else -1  # eyes, nose, mouth before the ears
    x0, y0, x1, y1 = face.box
    side = max(x1 - x0, y1 - y0)
    rows, edge = front_edge(alpha, ((x0 + x1) / 2, y0, y1), facing)
    if len(rows) < MIN_EDGE_ROWS:
        return None
    radius, fits = RADIUS * side, []
    for centre_y in (y0 + y1) / 2 + SHIFTS * side:
        half_width = np.sqrt(np.maximum(radius**2 - (rows - centre_y) ** 2, 0))
        offsets = edge - facing * half_width
        centre_x = float(np.median(offsets))  # a nose or a brow stands out and is passed over
        fits.append((float(np.abs(offsets - centre_x).mean()), (centre_x, float(centre_y))))
    misfit, centre = min(fits)
    return HeadSphere(centre, radius, facing) if misfit <= MAX_MISFIT * side else None


def front_edge(
    alpha: Image, start: tuple[float, float, float], facing: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return y and x of the silhouette's edge, seen from column x to where the head looks, between rows y0 and y1.

    Rows that the frame cuts off have no edge and are left out.
    """
    x, y0, y1 = start
    column = int(np.clip(x, 0, alpha.shape[1] - 1))
    first, last = int(np.clip(y0, 0, alpha.shape[0])), int(np.clip(y1, 0, alpha.shape[0]))
    inside = alpha[first:last, column::facing] > INSIDE
    ends = inside[:, 0] & ~inside.all(axis=1)
    steps = np.argmin(inside[ends], axis=1)
    rows = np.arange(first, last, dtype=np.float64)[ends] + 0.5
    return rows, np.asarray(column + steps if facing > 0 else column + 1 - steps, np.float64)
