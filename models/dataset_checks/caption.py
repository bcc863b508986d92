"""The bytes of one caption file."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault

MAX_BYTES = 8192
"""225 tokens are about a thousand letters."""
_BOM = "\ufeff"
_HARMLESS = frozenset("\t\r\n\u200d")  # the last one joins emoji


def read_caption(path: Path, place: str) -> tuple[str | None, list[Fault]]:
    """Return a caption as a trainer reads it, None where it cannot be read, and what is wrong with its bytes.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return None, [fault(place, "caption_too_long", f"more than {MAX_BYTES} bytes")]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [fault(place, "caption_not_utf8", f"byte {data[error.start]:#04x} at {error.start} is not UTF-8")]
    return text.strip(f"{_BOM} \t\r\n\0") or None, list(caption_faults(text, place))


def caption_faults(text: str, place: str) -> Iterator[Fault]:
    """Yield what is wrong with the letters of a caption."""
    if text.startswith(_BOM):
        yield fault(place, "caption_bom", "it begins with a byte order mark")
        text = text[1:]
    if odd := sorted({letter for letter in text if _is_invisible(letter)}):
        yield fault(place, "caption_control", "it holds " + ", ".join(f"U+{ord(letter):04X}" for letter in odd[:4]))
    text = text.strip()
    if not text:
        yield fault(place, "empty_caption", "it is empty")
    elif len(lines := text.splitlines()) > 1:
        yield fault(place, "caption_lines", f"it has {len(lines)} lines")


def _is_invisible(letter: str) -> bool:
    return letter not in _HARMLESS and unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
