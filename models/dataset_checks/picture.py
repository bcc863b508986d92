"""One picture of a training set: what its header says, then whether its pixels are all there.

Opened with Pillow, as kohya's and diffusers' loaders do, and only in formats that it decodes by itself.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault
from models.dataset_checks.wanted import Wanted

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
ENDINGS = {"PNG": {".png"}, "JPEG": {".jpg", ".jpeg"}, "MPO": {".jpg", ".jpeg"}, "WEBP": {".webp"}, "BMP": {".bmp"}}
MAX_BYTES = 512_000_000
MAX_SIDE = 16_384
"""Pixels: the largest side that WebP and most GPUs take."""
MAX_PIXELS = 89_478_485
"""From here on Pillow warns of a decompression bomb; at twice as many it refuses."""
MIN_SIDE = 64
"""Pixels: eight of a latent."""
ORIENTATION = 0x0112
_DEPTH_BYTE, _SIXTEEN = 24, 16  # of a PNG's header
_COLOURLESS = frozenset({"1", "L", "LA", "La"})

Image.init()  # so that all formats are known in all threads

Alpha = Literal["none", "opaque", "empty", "varies"]


@dataclass(frozen=True)
class Look:
    """What is known of a picture that can be decoded.

    size: width and height in pixels.
    digest: SHA-256 of its mode, size and pixels.
    """

    size: tuple[int, int]
    digest: str
    alpha: Alpha


class Unfit(ValueError):
    """A file that cannot be decoded."""

    def __init__(self, rule: str, value: str) -> None:
        super().__init__(value)
        self.rule = rule
        self.value = value


def open_picture(data: bytes) -> Image.Image:
    """Return a picture whose header has been read, and no more.

    Raises:
        Unfit: it is empty, no picture, or larger than anything that is trained on.
    """
    if not data:
        rule, value = "zero_bytes", "it has no bytes"
        raise Unfit(rule, value)
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        rule, value = "undecodable", "it is no picture of a known format"
        raise Unfit(rule, value) from error
    except Image.DecompressionBombError as error:
        rule, value = "too_large", f"more than {2 * MAX_PIXELS} pixels"
        raise Unfit(rule, value) from error
    except Exception as error:
        raise _undecodable(error) from error
    width, height = picture.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        rule, value = "too_large", f"{width}x{height} pixels"
        raise Unfit(rule, value)
    return picture


def decode(picture: Image.Image) -> None:
    """Decode all pixels of an opened picture.

    Raises:
        Unfit: they are not all there, or no decoder understands them.
    """
    try:
        picture.load()
    except Exception as error:
        raise _undecodable(error) from error


def _undecodable(error: Exception) -> Unfit:
    """Return what a decoder's failure means; they raise whatever broken bytes lead them to, OSError for one."""
    rule = "truncated" if "truncated" in str(error).lower() else "undecodable"
    return Unfit(rule, f"its pixels cannot be decoded ({error})")


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: it cannot be read.
        Unfit: it is too large to be a picture.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        rule, value = "huge_file", f"{size / 1e6:.0f} MB"
        raise Unfit(rule, value)
    return path.read_bytes()


def look_at(path: Path, place: str, wanted: Wanted) -> tuple[Look | None, list[Fault]]:
    """Return what is known of a picture, None where it cannot be decoded, and all that is wrong with it.

    Raises:
        OSError: the file cannot be read.
    """
    faults: list[Fault] = []
    try:
        data = read_bytes(path)
        with open_picture(data) as picture:
            faults += _header_faults(picture, path, data, place)
            faults += _size_faults(picture.size, place, wanted)
            decode(picture)
            faults += _tag_faults(picture, place)
            pixels = hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes())
            look = Look(picture.size, pixels.hexdigest(), _alpha(picture))
    except Unfit as unfit:
        return None, [*faults, fault(place, unfit.rule, unfit.value)]
    if look.alpha == "empty":
        faults.append(fault(place, "alpha_empty", "its alpha channel is 0 everywhere"))
    return look, faults


def _header_faults(picture: Image.Image, path: Path, data: bytes, place: str) -> Iterator[Fault]:
    """Yield what the header alone says against a picture."""
    kind, mode = str(picture.format), picture.mode
    if path.suffix.lower() not in ENDINGS.get(kind, set()):
        yield fault(place, "wrong_extension", f"its content is {kind}")
    if mode == "CMYK":
        yield fault(place, "cmyk", "its colours are CMYK")
    if mode.startswith(("I", "F")) or (kind == "PNG" and data[_DEPTH_BYTE] == _SIXTEEN):
        yield fault(place, "sixteen_bit", "it has more than 8 bits a channel")
    elif mode in _COLOURLESS:
        yield fault(place, "grey", "it has no colours")
    if mode in {"P", "PA"}:
        yield fault(place, "palette", "it has a palette")


def _tag_faults(picture: Image.Image, place: str) -> Iterator[Fault]:
    """Yield what stands behind the header: more frames, and a tag that says how to turn the picture.

    Raises:
        Unfit: the tags cannot be read.
    """
    try:
        frames = int(getattr(picture, "n_frames", 1))
        orientation = picture.getexif().get(ORIENTATION, 1)
    except Exception as error:
        raise _undecodable(error) from error
    if frames > 1 and picture.format != "MPO":
        yield fault(place, "animated", f"it has {frames} frames")
    if orientation in range(2, 9):
        yield fault(place, "exif_rotated", f"its EXIF tag says to turn it (orientation {orientation})")


def _size_faults(size: tuple[int, int], place: str, wanted: Wanted) -> Iterator[Fault]:
    """Yield what speaks against a picture's width and height."""
    shown = f"{size[0]}x{size[1]} pixels"
    if min(size) < MIN_SIDE:
        yield fault(place, "tiny", f"{shown}, the least is {MIN_SIDE}")
    elif wanted.resolution and (scale := wanted.resolution / (size[0] * size[1]) ** 0.5) > wanted.max_upscale:
        yield fault(place, "too_small", f"{shown}, enlarged {scale:.1f} times for {wanted.resolution}")
    if max(size) > wanted.max_aspect * min(size):
        yield fault(place, "extreme_aspect", f"{shown}, longer than {wanted.max_aspect:g} to 1")


def _alpha(picture: Image.Image) -> Alpha:
    """Return what a decoded picture's transparency amounts to."""
    if not picture.has_transparency_data:
        return "none"
    low, high = picture.convert("RGBA").getchannel("A").getextrema()
    if high == 0:
        return "empty"
    return "opaque" if low == 255 else "varies"  # noqa: PLR2004
