"""The `lite` base model: a small Stable Diffusion that knows a rendered world. Its recipe, and its model card."""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
"""The pipeline that comes with reel2lora; `README.md` in it is the model card."""
_NAME = "reel2lora-lite"
"""What others may call it, in a folder of no telling name."""


def name_of_base(base: Path) -> str:
    """Return what a base model is called where files name it: as its folder or its file, ours by a name of its own."""
    return _NAME if base == FOLDER else base.name
