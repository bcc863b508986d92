"""What is behind a character: one protocol for networks that guess, and its backends by their config names.

| name         | backend                                                              | weights                 |
|--------------|----------------------------------------------------------------------|-------------------------|
| `patchmatch` | exemplar-based completion over a pyramid, copies patches of the plate | none; BSD-3 (PyPI)      |
| `lama`       | big-LaMa, a network that has seen many pictures; TorchScript         | 206 MB, Apache-2.0      |

True pixels come first: `provenance.ShotPlates` takes what other frames show and asks a network for what is left.
"""

from typing import Protocol

from models.backends import Backend, Backends
from models.registration import Hole, Image
from models.web_file import WebFile


class Inpainter(Protocol):
    """Guesses the pixels of a hole from the rest of the picture."""

    def fill(self, image: Image, hole: Hole) -> Image:
        """Return `image` (H, W, 3) RGB uint8 with the pixels of `hole` (H, W) bool replaced; no other pixel changes.

        Raises:
            ValueError: the hole is the whole picture, or its size is not the picture's.
        """
        ...


def _patchmatch() -> Inpainter:
    from models.inpaint.patchmatch import PatchMatchInpainter  # noqa: PLC0415

    return PatchMatchInpainter()


def _lama() -> Inpainter:
    from models.inpaint.lama import LamaInpainter  # noqa: PLC0415

    return LamaInpainter(BIG_LAMA.path())


BIG_LAMA = WebFile(
    "big-lama.pt",
    "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
    "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
    "Apache-2.0",
    205.7,
)
INPAINTERS: Backends[Inpainter] = Backends(
    "inpainter", {"patchmatch": Backend(_patchmatch), "lama": Backend(_lama, (BIG_LAMA,))}
)
