"""The sample project made small: the whole graph on three shots of the sample film in about a minute."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "luca.yaml"
SMALL = {
    "films": "[{path: samples/harbour/harbour.mp4, from_frame: 96, to_frame: 456}]",
    "extract_frames.every_s": "0.5",
    "extract_frames.max_height": "192",
    "inpaint_plates.per_shot": "2",
    "cluster_places.min_cluster_size": "2",
    **{f"loras.{name}.train.steps": "6" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.warmup_steps": "1" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.checkpoint_every": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.sample_every": "6" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.validate_pictures": "1" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.validate_drawn": "1" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.train.sample_steps": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.evaluate.steps": "2" for name in ("luca", "portorosso", "running", "happy")},
    **{f"loras.{name}.evaluate.seeds": "[1]" for name in ("luca", "portorosso", "running", "happy")},
    "search_weights.trials": "0",
    "compose_loras.steps": "2",
    "compose_loras.seeds": "[1, 2]",
    "compare_stacking.seeds": "1",
}


def small_project(workspace: Path) -> dict[str, str]:
    """Return the changes that make the sample project small, kept in `workspace`."""
    return {**SMALL, "workspace": str(workspace)}


def tiny_project(workspace: Path) -> dict[str, str]:
    """Return the changes that leave two shots, two LoRAs and every stage: what is killed again and again."""
    few = {key: value for key, value in small_project(workspace).items() if not key.startswith("loras.")}
    few_steps = "steps: 6, warmup_steps: 1, checkpoint_every: 2, sample_every: 6, sample_steps: 2"
    train = f"{{{few_steps}, validate_pictures: 1, validate_drawn: 1}}"
    rest = f"train: {train}, evaluate: {{steps: 2, seeds: [1]}}"
    return {
        **few,
        "films": "[{path: samples/harbour/harbour.mp4, from_frame: 168, to_frame: 300}]",
        "loras": f"{{luca: {{type: character, {rest}}}, portorosso: {{type: background, {rest}}}}}",
    }
