"""Laying frames of one place over one another, and telling where they show the same."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Pixels (H, W, 3) RGB."""
Hole = NDArray[np.bool_]
"""Which pixels (H, W) a character hides."""
Map = NDArray[np.float32]
"""A number for each pixel (H, W)."""
