"""What can be known to fail is said before the first stage runs."""

import os
import shutil
import tempfile
from itertools import chain
from pathlib import Path

from data_contracts.faults import InputFault
from data_contracts.project import Project
from models.pictures import read_rgb
from models.shots.film import FilmFacts, UnreadableFilm, film_facts, fit_height, glance
from models.weights import MissingWeights
from tasks import segment_layers
from tasks.backends import load_backends

PNG_BYTES_PER_PIXEL = 2.0  # frames, masks, cut-outs and plates together, seen on animated films
GLANCES = 32
TRAINING_BYTES = 200_000_000  # checkpoints, samples and files of one LoRA of the lite profile


def preflight(project: Project, loras: list[str]) -> None:
    """Check a project's films, pictures, weights and disk.

    Raises:
        InputFault: every fault found, a line each.
    """
    known = ", ".join(project.loras)
    faults = [f"loras: {name!r} is not in the project; known: {known}" for name in loras if name not in project.loras]
    films: list[tuple[FilmFacts, float]] = []
    for film in project.films:
        try:
            facts = film_facts(film.path)
            share = ((film.to_frame or facts.frames) - film.from_frame) / max(1, facts.frames)
            films.append((facts, share))
        except (UnreadableFilm, OSError) as error:
            faults.append(f"films: {error}")
    for group, references in (
        ("characters", project.identify_characters.references),
        ("places", project.cluster_places.references),
    ):
        faults += [
            f"{group}.{name}.references: {fault}" for name, paths in references.items() for fault in unreadable(paths)
        ]
    faults += missing_weights(project)
    faults += workspace_faults(project.workspace, needed_bytes(project, films, len(loras)))
    if not faults and any(project.loras[name].type != "background" for name in loras):
        faults += nobody_seen(project)
    if faults:
        raise InputFault("\n".join(faults))


def nobody_seen(project: Project) -> list[str]:
    """Return a fault where a glance at the films finds no character; mostly the first frame looked at has one."""
    segmenter = segment_layers.segmenter_of(project.segment_layers)
    glances = (glance(film.path, GLANCES, film.from_frame, film.to_frame) for film in project.films)
    for picture in chain.from_iterable(glances):
        if any(True for _ in segmenter.segment_shot([fit_height(picture, project.extract_frames.max_height)])):
            return []
    names = ", ".join(film.path.name for film in project.films)
    remedy = "give a film with characters, or run a background with --lora"
    return [f"films: nobody was found in {GLANCES} frames of {names}, but LoRAs of characters are asked for: {remedy}"]


def unreadable(paths: tuple[Path, ...]) -> list[str]:
    """Return a fault for each file that is not a picture."""
    faults = []
    for path in paths:
        try:
            read_rgb(path)
        except (ValueError, OSError) as error:
            faults.append(str(error))
    return faults


def missing_weights(project: Project) -> list[str]:
    """Return a fault for each backend that is unknown or has no weights on this machine."""
    faults = []
    for key, load in load_backends(project).items():
        try:
            load()
        except (MissingWeights, ValueError) as error:
            faults.append(f"{key}: {error}")
    return faults


def needed_bytes(project: Project, films: list[tuple[FilmFacts, float]], loras: int) -> float:
    """Return about how much disk a run takes, in bytes; twice what the sample film took a picture."""
    total = 0.0
    for facts, share in films:
        scale = min(1.0, project.extract_frames.max_height / max(1, facts.height))
        pixels = facts.width * facts.height * scale**2
        seconds = share * facts.frames / facts.fps
        total += pixels * PNG_BYTES_PER_PIXEL * seconds / project.extract_frames.every_s
    return total + loras * TRAINING_BYTES


def workspace_faults(workspace: Path, needed: float) -> list[str]:
    """Return why the workspace cannot take the run's results: permissions, or too little room."""
    there = next(folder for folder in (workspace, *workspace.parents) if folder.exists())
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=workspace):
            free = shutil.disk_usage(workspace).free
    except OSError as error:
        remedy = "give it write permission, or name another folder under `workspace:`"
        fault = f"workspace: {workspace.name!r} cannot be written ({os.strerror(error.errno or 0)}, in {there.name!r})"
        return [f"{fault}: {remedy}"]
    if free < needed:
        have, want = free / 1e6, needed / 1e6
        remedy = "free some, or name a folder on another disk under `workspace:`"
        return [f"workspace: {have:.0f} MB are free where it lies, but this run takes about {want:.0f} MB: {remedy}"]
    return []
