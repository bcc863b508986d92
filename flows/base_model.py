"""The base model that a project's LoRAs are made for."""

from pathlib import Path

from data_contracts.project import Project
from models.diffusion.lite_base import FOLDER


def base_model(project: Project) -> Path:
    """Return the base model's folder; a project that names none gets the small one that comes with reel2lora."""
    return project.base or FOLDER
