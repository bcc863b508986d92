"""How much light something leaves on its ground.

A shadow takes light and leaves the colour: pixels that are darker than the same ground is elsewhere, in all channels
by about the same share (Cucchiara et al., "Detecting moving objects, ghosts, and shadows in video streams", 2003).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.registration import Hole, Map

DARKEST = 0.3
"""Share of the light that is left in a shadow: less is another thing."""
SAME_COLOUR = 0.2
"""How far apart the channels' shares may be: skylight, which a shadow keeps, is bluer than the sun."""
BLACK = 8.0
"""Grey levels added to both, as the share of next to nothing is noise."""


@dataclass(frozen=True)
class Shading:
    """Which share of the ground's light is left, pixel by pixel."""

    light: Map  # (H, W), the mean of the channels
    apart: Map  # (H, W), between the channels

    @property
    def like_shadow(self) -> Hole:
        """Where (H, W) a shadow would look so; a weak one looks like none at all."""
        return np.asarray((self.light > DARKEST) & (self.apart < SAME_COLOUR))


def shading_of(image: NDArray[Any], ground: NDArray[Any]) -> Shading:
    """Return how `image` is shaded, both (H, W, 3) in grey levels."""
    share = (image + BLACK) / (ground + BLACK)
    return Shading(share.mean(axis=-1), share.max(axis=-1) - share.min(axis=-1))
