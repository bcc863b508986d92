"""`reel2lora preflight`: what is wrong with a project in one table, or what a run of it takes."""

from pathlib import Path

from data_contracts.check_faults import Fault, errors_of
from data_contracts.faults import InputFault
from data_contracts.project import Project
from data_contracts.project_file import load_project
from flows.base_model import base_model
from flows.checks.assembled import assembled_faults
from flows.checks.fault_table import show_faults
from flows.checks.preflight import Findings, look_ahead


def print_preflight(config: Path, lora: str, changes: dict[str, str], json_file: Path | None) -> Project:
    """Check a project and what its workspace holds, and print the faults or what a run takes; return the project.

    Raises:
        InputFault: there are errors.
    """
    try:
        project = load_project(config, changes)
    except InputFault as fault:
        lines = [line.partition(": ") for line in str(fault).splitlines()]
        unread = [Fault(place=place, rule="project_file", value=text, severity="error") for place, _, text in lines]
        show_faults(unread, config.name, json_file)
        raise
    loras = [lora] if lora else list(project.loras)
    findings = look_ahead(project, loras)
    faults = findings.faults
    assembled: list[str] = []
    if not errors_of(faults):
        more, assembled = assembled_faults(project, base_model(project), loras)
        faults = [*faults, *more]
    show_faults(faults, f"{project.name}, profile {project.profile}", json_file)
    print(f"ready: {', '.join(loras)}; {what_it_takes(findings)}")
    if assembled:
        print(f"data sets checked: {', '.join(assembled)}")
    return project


def what_it_takes(findings: Findings) -> str:
    """Return the memory of the largest training and the disk of the whole run, beside what is here, in words."""
    disk = f"about {findings.disk / 1e6:.0f} MB of disk"
    if not findings.trainings:
        return disk
    here = findings.here
    name, need = max(findings.trainings.items(), key=lambda item: item[1].device)
    if here.gpu:
        memory = f"{need.device:.1f} GB of {here.vram:.0f} GB on {here.gpu} and {need.host:.1f} GB RAM"
    else:
        memory = f"{need.host:.1f} GB of {here.host:.0f} GB RAM, on the CPU"
    return f"training takes about {memory} (most for {name}), the run {disk}"
