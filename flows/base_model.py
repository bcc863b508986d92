"""The base model that a project's LoRAs are made for."""

from pathlib import Path

from data_contracts.project import Project
from models.diffusion.base_marker import is_random
from tasks.guard import disk_faults, one_writer


def base_model(project: Project) -> Path:
    """Return the base model's folder; a project that names none gets a small one of random weights."""
    if project.base is not None:
        return project.base
    folder = project.workspace / "base"
    with disk_faults("base model", project.workspace), one_writer("base model", folder):
        if not is_random(folder / "random"):
            from models.diffusion.random_base import make_random_base  # noqa: PLC0415  it imports all of diffusers

            make_random_base(folder / "random")
    return folder / "random"
