"""How far a mask depends on where a network's logits are cut.

Kirillov et al., "Segment Anything", arXiv 2304.02643, section 5.
"""

import numpy as np
from numpy.typing import NDArray

OFFSET = 1.0  # of logit, up and down


def stability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the stability 0..1 of each mask `(..., h, w)`, above 0 inside: 0 for one that nothing is surely in.

    It is the IoU of the mask drawn a little tighter with it drawn a little wider, which holds the tighter one.
    """
    tight, wide = ((logits > offset).sum(axis=(-2, -1)) for offset in (OFFSET, -OFFSET))
    return np.asarray(tight / np.maximum(wide, 1), np.float64)
