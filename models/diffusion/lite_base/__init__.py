"""The `lite` base model: a small Stable Diffusion that knows a rendered world. Its recipe, and its model card."""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
"""The pipeline that comes with reel2lora; `README.md` in it is the model card."""
