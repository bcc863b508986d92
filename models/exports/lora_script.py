"""A script that draws with a release's LoRAs by diffusers, as this project does."""

from collections.abc import Mapping

from data_contracts.records import BaseFamily
from models.exports.lora_release import Release

_TEXT = '''\
"""Draw with the LoRAs of this folder: pip install diffusers transformers peft accelerate, set BASE, run."""

from pathlib import Path

import torch
from diffusers import {imports}

BASE = {base!r}  # the folder of the base model, or its name on the Hugging Face hub
FOLDER = Path(__file__).parent
WEIGHTS = {weights!r}

pipeline = {pipeline}.from_pretrained(BASE)
{scheduler}pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
for name in WEIGHTS:
    pipeline.load_lora_weights(FOLDER / f"{{name}}.safetensors", adapter_name=name)
pipeline.set_adapters(list(WEIGHTS), list(WEIGHTS.values()))
image = pipeline(
    prompt={prompt!r},
    {told}
    num_inference_steps={steps},
    width={size},
    height={size},
    generator=torch.Generator("cpu").manual_seed({seed}),
).images[0]
image.save(FOLDER / "diffusers_example.png")
'''
_KARRAS = (
    "pipeline.scheduler = DPMSolverMultistepScheduler.from_config(\n"
    "    pipeline.scheduler.config, use_karras_sigmas=True\n)\n"
)
_GUIDED = "negative_prompt={negative!r},\n    {scale}={guidance!r},"
PIPELINES: Mapping[BaseFamily, str] = {
    "sd15": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "flux": "FluxPipeline",
    "qwen_image": "QwenImagePipeline",
}
"""The families that draw from a prompt alone."""


def diffusers_script(release: Release) -> str:
    """Return the script for the release's family, one of PIPELINES."""
    sampling, family, pipeline = release.sampling, release.family, PIPELINES[release.family]
    karras = family in {"sd15", "sdxl"}
    scale = "true_cfg_scale" if family == "qwen_image" else "guidance_scale"
    guidance = "guidance_scale={guidance!r}," if family == "flux" else _GUIDED  # FLUX takes no negative prompt
    return _TEXT.format(
        imports=f"DPMSolverMultistepScheduler, {pipeline}" if karras else pipeline,
        base=release.base,
        weights={each.name: each.weight for each in release.loras},
        pipeline=pipeline,
        scheduler=_KARRAS if karras else "",
        prompt=release.prompt,
        told=guidance.format(negative=sampling.negative_prompt, scale=scale, guidance=sampling.guidance),
        steps=sampling.steps,
        size=sampling.size,
        seed=sampling.seeds[0],
    )
