"""The metadata of a .safetensors file: eight bytes that say how long the header is, the header as JSON, the tensors."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from data_contracts.records import Example

_LENGTH = 8
_METADATA = "__metadata__"


def read_metadata(file: bytes) -> dict[str, str]:
    """Return what a file says of itself."""
    metadata: dict[str, str] = _header(file).get(_METADATA, {})
    return metadata


def with_metadata(file: bytes, added: Mapping[str, str]) -> bytes:
    """Return the file with `added` laid over its metadata, and its tensors untouched."""
    header = _header(file)
    start = _LENGTH + int.from_bytes(file[:_LENGTH], "little")
    header[_METADATA] = dict(sorted({**header.get(_METADATA, {}), **added}.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # tensors begin at a multiple of 8
    return len(text).to_bytes(_LENGTH, "little") + text + file[start:]


def _header(file: bytes) -> dict[str, dict[str, str]]:
    length = int.from_bytes(file[:_LENGTH], "little")
    header: dict[str, dict[str, str]] = json.loads(file[_LENGTH : _LENGTH + length])
    return header


def dataset_metadata(name: str, learnt: Sequence[Example]) -> dict[str, str]:
    """Return what kohya writes of a data set, from which programs list a LoRA's words; nothing without examples."""
    if not learnt:
        return {}
    tags = Counter(tag.strip() for example in learnt for tag in example.caption.split(","))
    repeats = max(example.repeats for example in learnt)
    folder = f"{repeats}_{name}"
    return {
        "ss_tag_frequency": json.dumps({folder: dict(tags.most_common())}),
        "ss_dataset_dirs": json.dumps({folder: {"n_repeats": repeats, "img_count": len(learnt)}}),
    }
