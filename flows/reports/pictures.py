"""Pictures for a page that is one file: JPEG as data: URIs, shrunk together until they fit."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MOST_BYTES = 14_000_000  # of all pictures as base64; the rest of the page is well below a megabyte
WIDEST, SMALLEST, QUALITY = 1608, 160, 80


@dataclass(frozen=True)
class Embedded:
    """A picture as a data: URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def embed(paths: Iterable[Path], most_bytes: int = MOST_BYTES) -> dict[Path, Embedded]:
    """Return the pictures, all at the largest common width limit at which they fit into `most_bytes`.

    A picture that is a JPEG of that width already goes in as it is.

    Raises:
        ValueError: they do not fit even at the smallest width.
    """
    wanted = list(dict.fromkeys(paths))
    width = WIDEST
    while True:
        found = {path: _embed(path, width) for path in wanted}
        total = sum(len(each.uri) for each in found.values())
        if total <= most_bytes:
            return found
        if width <= SMALLEST:
            message = (
                f"{len(wanted)} pictures take {total} bytes at {width} pixels, more than the {most_bytes} of a report"
            )
            raise ValueError(message)
        width = max(SMALLEST, width * 4 // 5)


def _embed(path: Path, width: int) -> Embedded:
    with Image.open(path) as opened:
        size, as_it_is = opened.size, opened.format == "JPEG" and opened.width <= width
        data = path.read_bytes() if as_it_is else b""
        if not as_it_is:
            size = (min(width, opened.width), max(1, round(opened.height * min(1, width / opened.width))))
            buffer = io.BytesIO()
            opened.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY)
            data = buffer.getvalue()
    return Embedded("data:image/jpeg;base64," + base64.b64encode(data).decode(), *size)
