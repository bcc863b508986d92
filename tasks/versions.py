"""Versions of the packages whose work a result is."""

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

PACKAGES = (
    "reel2lora", "torch", "diffusers", "transformers", "peft", "numpy", "opencv-python-headless", "av",
    "scenedetect-headless", "hdbscan", "scikit-learn", "mediapipe", "ai-edge-litert", "pillow",
)  # fmt: skip


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Return the installed versions by package name; a package that is not installed is left out."""
    found = {"python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
