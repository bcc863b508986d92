"""A script that draws with a release's LoRAs by diffusers, as this project does."""

from collections.abc import Mapping

from data_contracts.records import BaseFamily
from models.exports.lora_release import Release

_TEXT = '''\
"""Draw with the LoRAs of this folder: pip install diffusers transformers peft accelerate, set BASE, run."""

from pathlib import Path

import torch
from diffusers import {imports}
{more_imports}
BASE = {base!r}  # the folder of the base model, or its name on the Hugging Face hub
FOLDER = Path(__file__).parent
WEIGHTS = {weights!r}

pipeline = {pipeline}.from_pretrained(BASE)
{scheduler}pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
for name in WEIGHTS:
    pipeline.load_lora_weights(FOLDER / f"{{name}}.safetensors", adapter_name=name)
{stacked}{embeddings}{mended}image = pipeline(
    {told}
    num_inference_steps={steps},
    width={size},
    height={size},
    generator=torch.Generator("cpu").manual_seed({seed}),
).images[0]
image.save(FOLDER / "diffusers_example.png")
'''
_STACKED = "pipeline.set_adapters(list(WEIGHTS), list(WEIGHTS.values()))\n"
_EMBEDDINGS: Mapping[BaseFamily, str] = {
    "sd15": """\
for name in {names!r}:
    pipeline.load_textual_inversion(FOLDER, weight_name=f"{{name}}.safetensors", token=f"<{{name}}>")
""",
    "sdxl": """\
encoders = {{
    "clip_l": (pipeline.text_encoder, pipeline.tokenizer),
    "clip_g": (pipeline.text_encoder_2, pipeline.tokenizer_2),
}}
for name in {names!r}:
    vectors = load_file(FOLDER / f"{{name}}.safetensors")
    for key, (encoder, tokenizer) in encoders.items():
        pipeline.load_textual_inversion(
            vectors[key], token=f"<{{name}}>", text_encoder=encoder, tokenizer=tokenizer
        )
for module in pipeline.text_encoder_2.modules():
    if hasattr(module, "eos_token_id"):  # else transformers takes the last new token for the prompt's end
        module.eos_token_id = pipeline.tokenizer_2.eos_token_id
""",
}
_MENDED = """\
if not hasattr(pipeline.text_encoder, "text_model"):  # transformers 5 has moved what diffusers' clip_skip looks for
    vars(pipeline.text_encoder)["text_model"] = pipeline.text_encoder


def read(prompt):  # the negative prompt too, of which diffusers itself would read the last layer
    return pipeline.encode_prompt(prompt, pipeline.device, 1, False, clip_skip={skipped})[0]


"""
_KARRAS = (
    "pipeline.scheduler = DPMSolverMultistepScheduler.from_config(\n"
    "    pipeline.scheduler.config, use_karras_sigmas=True\n)\n"
)
_GUIDED = "prompt={prompt!r},\n    negative_prompt={negative!r},\n    {scale}={guidance!r},"
_SKIPPED = "prompt_embeds=read({prompt!r}),\n    negative_prompt_embeds=read({negative!r}),\n    {scale}={guidance!r},"
_DISTILLED = "prompt={prompt!r},\n    guidance_scale={guidance!r},"  # FLUX takes no negative prompt
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
    told = _DISTILLED if family == "flux" else _SKIPPED if release.clip_skip > 1 else _GUIDED
    names = [each.embedding_name for each in release.embeddings]
    return _TEXT.format(
        more_imports="from safetensors.torch import load_file\n" if names and family == "sdxl" else "",
        stacked=_STACKED if release.networks else "",
        mended=_MENDED.format(skipped=release.clip_skip - 1) if release.clip_skip > 1 else "",
        embeddings=_EMBEDDINGS[family].format(names=names) if names else "",
        imports=f"DPMSolverMultistepScheduler, {pipeline}" if karras else pipeline,
        base=release.base,
        weights={each.name: each.weight for each in release.networks},
        pipeline=pipeline,
        scheduler=_KARRAS if karras else "",
        told=told.format(
            prompt=release.called(release.prompt, "<{}>".format),
            negative=sampling.negative_prompt,
            scale=scale,
            guidance=sampling.guidance,
        ),
        steps=sampling.steps,
        size=sampling.size,
        seed=sampling.seeds[0],
    )
