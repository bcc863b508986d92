"""Pictures on disk: read as arrays, written once under the name of their content."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_contracts.whole_file import whole_file

Picture = NDArray[np.uint8]


def encode_png(picture: Picture) -> bytes:
    """Return the PNG bytes of a picture, `(H, W)`, `(H, W, 3) RGB` or `(H, W, 4) RGBA`, uint8."""
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, codes[picture.shape[2]])  # noqa: PLR2004
    done, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        message = f"a picture of shape {picture.shape} and type {picture.dtype} cannot be written as PNG"
        raise ValueError(message)
    return bytes(data.tobytes())


def keep_bytes(folder: Path, data: bytes, ending: str) -> str:
    """Write `data` into `folder` under the name of its content, beside and renamed; return the name."""
    name = f"{hashlib.sha256(data).hexdigest()[:24]}.{ending}"
    path = folder / name
    if not path.exists():
        with whole_file(path) as beside:
            beside.write_bytes(data)
    return name


def keep_picture(folder: Path, picture: Picture) -> str:
    """Write a picture as PNG under the name of its content; return the name."""
    return keep_bytes(folder, encode_png(picture), "png")


def read_rgb(path: Path) -> Picture:
    """Return a picture as `(H, W, 3) RGB` uint8; transparency is dropped.

    Raises:
        ValueError: the file is missing or is not a picture.
    """
    return np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1])


def read_rgba(path: Path) -> Picture:
    """Return a picture as `(H, W, 4) RGBA` uint8; one without transparency is opaque throughout.

    Raises:
        ValueError: the file is missing or is not a picture.
    """
    picture = _read(path, cv2.IMREAD_UNCHANGED)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 4:  # noqa: PLR2004
        rgb = read_rgb(path)
        return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA), np.uint8)


def read_grey(path: Path) -> Picture:
    """Return a picture as `(H, W)` uint8.

    Raises:
        ValueError: the file is missing or is not a picture.
    """
    return _read(path, cv2.IMREAD_GRAYSCALE)


def _read(path: Path, mode: int) -> Picture:
    data = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.empty(0, np.uint8)
    picture = cv2.imdecode(data, mode) if data.size else None
    if picture is None:
        message = f"{path.name}: not a picture that can be read (PNG, JPEG, WebP, BMP or TIFF)"
        raise ValueError(message)
    return np.asarray(picture, np.uint8) if picture.dtype == np.uint8 else np.asarray(picture // 257, np.uint8)
