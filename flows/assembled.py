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
from tasks.run_record import RunRecord, latest_runs


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
        results = {stage: _result(project.workspace, run, stage, name) for stage in _STAGES}
        captions, examples = results["caption_images"], results["assemble_dataset"]
        if captions is None or examples is None:
            continue
        current = _is_of(captions, plan.caption) and _is_of(examples, plan.dataset)
        folder = examples / "kohya"
        return folder if current and folder.is_dir() else None
    return None


_STAGES = ("caption_images", "assemble_dataset")


def _result(workspace: Path, run: RunRecord, stage: str, label: str) -> Path | None:
    """Return the folder of a finished stage that a run used for a LoRA."""
    keys = [use.key for use in run.stages if use.stage == stage and use.label == label]
    return next((workspace / key for key in keys if (workspace / key / "manifest.json").is_file()), None)


def _is_of(folder: Path, config: StageConfig) -> bool:
    """Return whether a result was made with this very configuration."""
    manifest = Manifest.load(folder)
    return manifest is not None and manifest.config == content_of(config)
