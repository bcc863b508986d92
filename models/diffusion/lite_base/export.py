"""Put the trained networks together as a Stable Diffusion pipeline in half precision."""

# mypy: disable-error-code="no-untyped-call"

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline

from models.diffusion.lite_base.denoiser import Denoiser, noise_schedule


def export(vae: AutoencoderKL, denoiser: Denoiser, folder: Path) -> None:
    """Write the pipeline to `folder`, in place of what was there; a model card in it stays."""
    card = folder / "README.md"
    kept = card.read_bytes() if card.is_file() else None
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline: Any = StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=DPMSolverMultistepScheduler(**noise_schedule_for_sampling()),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(beside, safe_serialization=True)
    for path in beside.rglob("*.json"):
        _forget_origin(path)
    if kept is not None:
        (beside / "README.md").write_bytes(kept)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)


def _forget_origin(path: Path) -> None:
    """Take out of a configuration the folder that its network was loaded from."""
    values = json.loads(path.read_text(encoding="utf-8"))
    if values.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def noise_schedule_for_sampling() -> dict[str, Any]:
    """Return the noise schedule with the solver's own settings: DPM-Solver++(2M) on Karras' sigmas."""
    return {key: value for key, value in noise_schedule().items() if key != "clip_sample"} | {"use_karras_sigmas": True}
