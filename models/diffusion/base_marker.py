"""The mark of a base model that has learnt nothing; light to import, so that asking costs no networks."""

import json
from pathlib import Path

MARKER = "reel2lora.json"


def read_marker(folder: Path) -> dict[str, object]:
    """Return what a base model of ours says of itself; empty for all others."""
    if not (folder / MARKER).is_file():
        return {}
    marker: dict[str, object] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return marker


def is_random(folder: Path) -> bool:
    """Whether the base model in `folder` has random weights, so that pictures made with it mean nothing."""
    return read_marker(folder).get("random") is True
