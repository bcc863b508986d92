"""Whether a project's base model can be trained, by the trainers it names, in this machine's memory and time."""

from collections.abc import Mapping
from pathlib import Path

from data_contracts.check_faults import Fault, Severity
from data_contracts.faults import InputFault
from data_contracts.project import Project
from models.diffusion import family_of, no_clip_skip, tokenizer_folder
from models.diffusion.memory import Machine, Need, training_need

REMEDY = (
    "set gradient_checkpointing: true, precision: bfloat16 or nf4 and optimizer: adamw8bit in its `train:`, or lower "
    "batch, resolution or rank"
)


def base_faults(base: Path) -> list[Fault]:
    """Return a fault where the base model is none that can be trained, which would else be said last of all."""
    try:
        family_of(base)
        tokenizer_folder(base)
    except InputFault as fault:
        value = str(fault).replace(str(base), repr(base.name))
        return [Fault(place="base", rule="base", value=value, severity="error")]
    return []


def trainer_faults(project: Project, base: Path, loras: list[str]) -> list[Fault]:
    """Return a fault for each LoRA whose trainer cannot train it on this base model, or with these settings."""
    from models.device import gpu_or_cpu, no_compiling  # noqa: PLC0415  imports torch
    from models.diffusion.key_formats import KEY_FORMATS, no_dora, no_embedding  # noqa: PLC0415  imports torch
    from models.trainers.kohya_config import require_possible  # noqa: PLC0415
    from models.trainers.team import no_processes  # noqa: PLC0415  imports torch

    faults = []
    family = family_of(base)
    keys = KEY_FORMATS[family]
    for name, plan in project.loras.items():
        if name not in loras:
            continue
        settings = plan.train.settings
        troubles = (
            no_dora(keys) if settings.dora else "",
            no_embedding(keys) if settings.embedding_vectors else "",
            no_clip_skip(family) if settings.clip_skip > 1 else "",
            no_compiling(gpu_or_cpu()) if settings.compile else "",
            no_processes(settings.processes),
        )
        faults += [
            Fault(place=f"loras.{name}.train", rule="trainer", value=trouble, severity="error")
            for trouble in filter(None, troubles)
        ]
        if plan.train.trainer != "kohya":
            continue
        try:
            require_possible(base, plan.train.settings)
        except InputFault as fault:
            value = str(fault).replace(str(base), repr(base.name))
            faults.append(Fault(place=f"loras.{name}.train", rule="trainer", value=value, severity="error"))
    return faults


def training_needs(project: Project, base: Path, loras: list[str], here: Machine) -> dict[str, Need]:
    """Return what each training takes; LoRAs whose base model's family is not known are left out."""
    needs = {
        name: training_need(base, project.loras[name].train.settings, on_gpu=bool(here.gpu))
        for name in loras
        if name in project.loras
    }
    return {name: need for name, need in needs.items() if need is not None}


def memory_faults(needs: Mapping[str, Need], here: Machine) -> list[Fault]:
    """Return a fault for each training that does not fit, or not beside what runs here now."""
    faults: list[Fault] = []
    for name, need in needs.items():
        if here.gpu:
            faults += _lacking(name, f"memory of {here.gpu}", need.device, (here.vram, here.vram_free))
        faults += _lacking(name, "RAM", need.host, (here.host, here.host_free))
    return faults


def speed_faults(project: Project, loras: list[str], here: Machine) -> list[Fault]:
    """Return a warning for each training that this machine would emulate the arithmetic of."""
    slow = [] if here.bfloat16 else [name for name in loras if name in project.loras]
    return [
        Fault(
            place=f"loras.{name}.train",
            rule="precision",
            value=f"this CPU has no instructions for {precision}: it takes ten times as long as float32",
            remedy="set precision: float32 in its `train:`, or train on a GPU",
            severity="warning",
        )
        for name in slow
        if (precision := project.loras[name].train.settings.precision) != "float32"
    ]


def _lacking(name: str, what: str, needed: float, there: tuple[float, float]) -> list[Fault]:
    """Return the fault of too little memory: an error where it is never enough, a warning where it is in use."""
    total, free = there
    if needed <= free:
        return []
    severity: Severity = "error" if needed > total else "warning"
    has = f"there are {total:.1f}" if needed > total else f"{free:.1f} of {total:.1f} are free"
    value = f"training takes about {needed:.1f} GB of {what}, {has}"
    remedy = REMEDY if needed > total else "end what else uses it, or " + REMEDY
    return [Fault(place=f"loras.{name}.train", rule="memory", value=value, remedy=remedy, severity=severity)]
