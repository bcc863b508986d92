"""A ComfyUI workflow that draws with a release's LoRAs, each at its weight, one loader behind the other."""

from collections.abc import Callable, Mapping
from pathlib import PurePath

from data_contracts.records import BaseFamily
from models.exports.lora_graph import Graph, Output
from models.exports.lora_release import Release, plain_prompt

_QWEN_SHIFT = 3.1
"""As in ComfyUI's own workflow for Qwen-Image."""


def workflow(release: Release) -> Graph:
    """Return the graph for the release's family, one of WORKFLOWS."""
    return WORKFLOWS[release.family](release)


def _stable_diffusion(release: Release) -> Graph:
    graph, sampling = Graph(), release.sampling
    model, clip, vae = graph.add("CheckpointLoaderSimple", ckpt_name=_file_name(release.base))
    for each in release.networks:
        strengths = {"strength_model": each.weight, "strength_clip": each.weight}
        model, clip = graph.add("LoraLoader", model=model, clip=clip, lora_name=f"{each.name}.safetensors", **strengths)
    if release.clip_skip > 1:
        (clip,) = graph.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-release.clip_skip)
    if release.predicts_velocity:
        (model,) = graph.add("ModelSamplingDiscrete", model=model, sampling="v_prediction", zsnr=False)
    prompt = release.called(release.prompt, "embedding:{}".format)
    (towards,) = graph.add("CLIPTextEncode", clip=clip, text=plain_prompt(prompt))
    (away,) = graph.add("CLIPTextEncode", clip=clip, text=plain_prompt(sampling.negative_prompt))
    told = {"model": model, "positive": towards, "negative": away, "cfg": sampling.guidance}
    _draw(graph, release, vae, "EmptyLatentImage", {**told, "sampler_name": "dpmpp_2m", "scheduler": "karras"})
    return graph


def _flux(release: Release) -> Graph:
    graph = Graph()
    model = _transformer(graph, release)
    encoders = {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors", "type": "flux"}
    (clip,) = graph.add("DualCLIPLoader", **encoders, device="default")
    (vae,) = graph.add("VAELoader", vae_name="ae.safetensors")
    (prompt,) = graph.add("CLIPTextEncode", clip=clip, text=plain_prompt(release.prompt))
    (towards,) = graph.add("FluxGuidance", conditioning=prompt, guidance=release.sampling.guidance)
    (away,) = graph.add("ConditioningZeroOut", conditioning=prompt)
    told = {"model": model, "positive": towards, "negative": away, "cfg": 1.0}
    _draw(graph, release, vae, "EmptySD3LatentImage", {**told, "sampler_name": "euler", "scheduler": "simple"})
    return graph


def _qwen_image(release: Release) -> Graph:
    graph, sampling = Graph(), release.sampling
    (model,) = graph.add("ModelSamplingAuraFlow", model=_transformer(graph, release), shift=_QWEN_SHIFT)
    reader = {"clip_name": "qwen_2.5_vl_7b_fp8_scaled.safetensors", "type": "qwen_image"}
    (clip,) = graph.add("CLIPLoader", **reader, device="default")
    (vae,) = graph.add("VAELoader", vae_name="qwen_image_vae.safetensors")
    (towards,) = graph.add("CLIPTextEncode", clip=clip, text=plain_prompt(release.prompt))
    (away,) = graph.add("CLIPTextEncode", clip=clip, text=plain_prompt(sampling.negative_prompt))
    told = {"model": model, "positive": towards, "negative": away, "cfg": sampling.guidance}
    _draw(graph, release, vae, "EmptySD3LatentImage", {**told, "sampler_name": "euler", "scheduler": "simple"})
    return graph


WORKFLOWS: Mapping[BaseFamily, Callable[[Release], Graph]] = {
    "sd15": _stable_diffusion,
    "sdxl": _stable_diffusion,
    "flux": _flux,
    "qwen_image": _qwen_image,
}
"""The families that draw from a prompt alone; Qwen-Image-Edit wants a picture to be edited."""


def _transformer(graph: Graph, release: Release) -> Output:
    """Return the transformer with the LoRAs, which leave these families' text encoders as they are."""
    (model,) = graph.add("UNETLoader", unet_name=_file_name(release.base), weight_dtype="default")
    for each in release.loras:
        named = {"lora_name": f"{each.name}.safetensors", "strength_model": each.weight}
        (model,) = graph.add("LoraLoaderModelOnly", model=model, **named)
    return model


def _draw(graph: Graph, release: Release, vae: Output, empty: str, told: Mapping[str, object]) -> None:
    sampling = release.sampling
    (latent,) = graph.add(empty, width=sampling.size, height=sampling.size, batch_size=1)
    seed, steps = sampling.seeds[0], sampling.steps
    (latents,) = graph.add("KSampler", latent_image=latent, seed=seed, steps=steps, denoise=1.0, **told)
    (image,) = graph.add("VAEDecode", samples=latents, vae=vae)
    graph.add("SaveImage", images=image, filename_prefix=release.name)


def _file_name(base: str) -> str:
    """Return the file that ComfyUI is to look for: the base itself, or one of a folder's name."""
    return base if PurePath(base).suffix == ".safetensors" else f"{base}.safetensors"
