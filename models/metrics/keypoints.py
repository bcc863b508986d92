"""How near predicted keypoints lie to the true ones."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def correct_keypoints(predicted: Points, truth: Points, fraction: float) -> int:
    """Return how many of the `(17, 2)` keypoints lie within `fraction` of the body's height of the true ones.

    The numerator of PCK, the percentage of correct keypoints (Yang and Ramanan 2013, "Articulated human detection with
    flexible mixtures of parts"), with the vertical extent of the true keypoints as the body's size.
    """
    height = float(np.ptp(truth[:, 1]))
    distances = np.linalg.norm(predicted - truth, axis=1)  # (17,)
    return int(np.count_nonzero(distances <= fraction * height))
