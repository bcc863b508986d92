"""Data sets that a workspace holds already, checked as the trainer will find them."""

from pathlib import Path

from data_contracts.check_faults import Fault
from data_contracts.config import StageConfig
from data_contracts.digest import content_of
from data_contracts.manifest import Manifest
from data_contracts.project import Project
from models.caption.lint import other_names, rules_of
from models.caption.tokens import load_tokenizer
from models.dataset_checks.folder import check_folder
from models.dataset_checks.wanted import Wanted
from models.diffusion import tokenizer_folder
from tasks.run_record import latest_runs


def assembled_faults(project: Project, base: Path, loras: list[str]) -> tuple[list[Fault], list[str]]:
    """Return the faults of the data sets of these LoRAs, and whose there are.

    Only what the project as it stands would use again is looked at; a run makes the others anew.
    """
    faults: list[Fault] = []
    found: list[str] = []
    captions = [plan.caption for plan in project.loras.values()]
    for name in loras:
        folder = assembled_folder(project, name)
        if folder is None:
            continue
        plan = project.loras[name]
        tokenizer = load_tokenizer(tokenizer_folder(base))
        rules = rules_of(plan.caption, other_names(plan.caption, captions), tokenizer)
        wanted = Wanted(resolution=plan.dataset.resolution, max_upscale=plan.dataset.max_upscale, rules=rules)
        where = folder.relative_to(project.workspace).as_posix()
        faults += [f.model_copy(update={"place": f"{where}/{f.place}"}) for f in check_folder(folder, wanted)]
        found.append(name)
    return faults, found


def assembled_folder(project: Project, name: str) -> Path | None:
    """Return the newest data set of a LoRA in kohya's form, None where its settings have changed since."""
    plan = project.loras[name]
    for run in latest_runs(project.workspace):
        captions = run.finished(project.workspace, "caption_images", name)
        examples = run.finished(project.workspace, "assemble_dataset", name)
        if captions is None or examples is None:
            continue
        made = project.workspace / examples.key
        current = _is_of(project.workspace / captions.key, plan.caption) and _is_of(made, plan.dataset)
        return made / "kohya" if current and (made / "kohya").is_dir() else None
    return None


def _is_of(folder: Path, config: StageConfig) -> bool:
    """Return whether a result was made with this very configuration."""
    manifest = Manifest.load(folder)
    return manifest is not None and manifest.config == content_of(config)
