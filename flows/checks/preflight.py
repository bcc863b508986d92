"""What can be known to fail is said before the first stage runs."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from data_contracts.check_faults import Fault, refuse_errors
from data_contracts.faults import InputFault
from data_contracts.project import Project
from data_contracts.stages import FilmSource
from flows.base_model import base_model
from flows.checks.memory_faults import base_faults, memory_faults, speed_faults, trainer_faults, training_needs
from flows.checks.project_lint import word_faults
from flows.commands.decisions import collect_decisions
from models.diffusion.memory import Machine, Need, machine
from models.diffusion.regions import covered
from models.pictures import read_rgb
from models.shots.film import FilmFacts, UnreadableFilm, film_facts, fit_height, glance
from tasks import segment_layers
from tasks.backends import load_backends, trouble_of

PNG_BYTES_PER_PIXEL = 2.0  # frames, masks, cut-outs and plates together, seen on animated films
GLANCES = 32
TRAINING_BYTES = 200_000_000  # checkpoints, samples and files of one LoRA of the lite profile


@dataclass(frozen=True)
class Findings:
    """What is wrong with a project, and what a run of it takes.

    trainings: what the training of each LoRA takes.
    disk: bytes that a run writes, about.
    """

    faults: list[Fault]
    trainings: dict[str, Need]
    here: Machine
    disk: float


def preflight(project: Project, loras: list[str]) -> list[Fault]:
    """Check all that `look_ahead` does; return the warnings.

    Raises:
        InputFault: every error found, a line each.
    """
    findings = look_ahead(project, loras)
    refuse_errors(findings.faults)
    return findings.faults


def look_ahead(project: Project, loras: list[str]) -> Findings:
    """Return what is wrong with a project's films, pictures, words, weights, memory and disk, and what it takes."""
    known = ", ".join(project.loras)
    lines = [f"loras: {name!r} is not in the project; known: {known}" for name in loras if name not in project.loras]
    films, unread = readable_films(project)
    lines += unread
    for group, references in (
        ("characters", project.identify_characters.references),
        ("places", project.cluster_places.references),
    ):
        lines += [
            f"{group}.{name}.references: {fault}" for name, paths in references.items() for fault in unreadable(paths)
        ]
    lines += edited_badly(project, loras)
    lines += region_faults(project)
    lines += missing_weights(project)
    disk = needed_bytes(project, films, len(loras))
    lines += workspace_faults(project.workspace, disk)
    if not lines and any(project.loras[name].type != "background" for name in loras):
        lines += nobody_seen(project)
    here, base = machine(), base_model(project)
    trainings = training_needs(project, base, loras, here)
    faults = [fault_of(line) for line in lines]
    faults += base_faults(base) or trainer_faults(project, base, loras)
    faults += [*word_faults(project, base, loras), *memory_faults(trainings, here), *speed_faults(project, loras, here)]
    return Findings(faults, trainings, here, disk)


def region_faults(project: Project) -> list[str]:
    """Return what is wrong with the characters' regions and can be seen in their masks alone."""
    areas = project.compose_characters.areas(project.characters)
    size = project.compose_loras.size
    try:
        covered(list(areas.values()), (size, project.compose_characters.width_for(max(1, len(areas)), size)))
    except InputFault as fault:
        return [f"compose_characters.regions: {fault}"]
    return []


def edited_badly(project: Project, loras: list[str]) -> list[str]:
    """Take over what was changed by hand since the last run; return what of it cannot be used."""
    lines = []
    for name in project.loras.keys() & set(loras):
        try:
            collect_decisions(project, name)
        except InputFault as fault:
            lines += [f"decisions: {line}" for line in str(fault).splitlines()]
    return sorted(lines)


def fault_of(line: str) -> Fault:
    """Return a line that begins with its place as a fault: nothing runs with it."""
    place, _, value = line.partition(": ")
    return Fault(place=place, rule=place.split(".", maxsplit=1)[0], value=value, severity="error")


def readable_films(project: Project) -> tuple[list[tuple[FilmFacts, float]], list[str]]:
    """Return the films that can be read, with the share of each that is used, and why the others cannot."""
    films: list[tuple[FilmFacts, float]] = []
    faults: list[str] = []
    for film in project.films:
        try:
            facts = film_facts(film.path)
            share = ((film.to_frame or facts.frames) - film.from_frame) / max(1, facts.frames)
            films.append((facts, share))
        except (UnreadableFilm, OSError) as error:
            faults.append(f"films: {error}")
    return films, faults


def nobody_seen(project: Project) -> list[str]:
    """Return a fault where a glance at the films finds no character."""
    if somebody(project) is not None:
        return []
    names = ", ".join(film.path.name for film in project.films)
    remedy = "give a film with characters, or run a background with --lora"
    return [f"films: nobody was found in {GLANCES} frames of {names}, but LoRAs of characters are asked for: {remedy}"]


def somebody(project: Project) -> tuple[FilmSource, int] | None:
    """Return a film and the number of a frame in which a character is seen; mostly the first one looked at has one."""
    segmenter = segment_layers.segmenter_of(project.segment_layers)
    for film in project.films:
        for frame in glance(film.path, GLANCES, film.from_frame, film.to_frame):
            picture = fit_height(frame.rgb, project.extract_frames.max_height)
            if any(True for _ in segmenter.segment_shot([picture])):
                return film, frame.number
    return None


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
    troubles = {key: trouble_of(load) for key, load in load_backends(project).items()}
    return [f"{key}: {trouble}" for key, trouble in troubles.items() if trouble]


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
