"""Diffusers folders of tiny networks written as single checkpoints, with the keys of Stability's own code."""

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from data_contracts.records import BaseFamily
from models.diffusion.single_file import CONFIGURATIONS
from models.trainers.kohya_base import TOKENIZER, prepare_tokenizer

Tensors = dict[str, torch.Tensor]
RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def write_checkpoint(folder: Path, file: Path) -> Path:
    """Write what the networks in the diffusers folder `folder` weigh into one file."""
    layers = json.loads((folder / "unet/config.json").read_text())["layers_per_block"]
    unet = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    attended = {int(key.split(".")[1]) for key in unet if key.startswith("up_blocks") and "attentions" in key}
    tensors = {f"model.diffusion_model.{_unet(key, layers, attended)}": value for key, value in unet.items()}
    for key, value in load_file(folder / "vae/diffusion_pytorch_model.safetensors").items():
        name = _vae(key)
        square = "mid.attn_1" in name and value.ndim == 2
        tensors[f"first_stage_model.{name}"] = value[:, :, None, None] if square else value
    two = folder / "text_encoder_2/model.safetensors"
    prefix = "conditioner.embedders.0" if two.exists() else "cond_stage_model"
    for key, value in load_file(folder / "text_encoder/model.safetensors").items():
        tensors[f"{prefix}.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    if two.exists():
        tensors |= {f"conditioner.embedders.1.model.{key}": value for key, value in _open_clip(load_file(two)).items()}
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, file)
    return file


def write_configuration(folder: Path, cache: Path, family: BaseFamily = "sd15") -> Path:
    """Put what `folder` has besides weights into a hub's cache, as if it were the family's own; return the cache.

    transformers 5 saves a tokenizer as one file; what the family's first model was published with has two.
    """
    model = CONFIGURATIONS[family]
    snapshot = cache / f"models--{model.repository.replace('/', '--')}" / "snapshots" / model.revision
    prepare_tokenizer(folder, cache)
    shutil.move(cache / TOKENIZER, snapshot / "tokenizer")
    (snapshot / "tokenizer" / "special_tokens_map.json").write_text("{}")
    for file in model.files:
        if not file.startswith("tokenizer/"):
            (snapshot / file).parent.mkdir(exist_ok=True)
            shutil.copy(folder / file, snapshot / file)
    return cache


def _unet(key: str, layers: int, attended: set[int]) -> str:
    for ours, theirs in OUTER.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", key):
        return f"middle_block.{2 * int(found[2]) if found[1] == 'resnets' else 1}.{_inner(found[3])}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", key)
    side, level, kind, place = found[1], int(found[2]), found[3], int(found[4])
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (level + 1)}.0.op.{found[5].removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * level + layers}.{2 if level in attended else 1}.{found[5]}"
    block = (layers + 1) * level + place
    name = f"input_blocks.{block + 1}" if side == "down" else f"output_blocks.{block}"
    return f"{name}.{0 if kind == 'resnets' else 1}.{_inner(found[5])}"


def _inner(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{RESIDUAL.get(layer, layer)}.{kind}"


def _vae(key: str) -> str:
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    if "mid_block.attentions.0" in key:
        side, _, rest = key.partition(".mid_block.attentions.0.")
        layer, _, kind = rest.rpartition(".")
        return f"{side}.mid.attn_1.{ATTENTION[layer]}.{kind}"
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block", key)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample", key)


def _open_clip(state: Tensors) -> Tensors:
    state = {key.removeprefix("text_model."): value for key, value in state.items()}
    named = {
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": state.pop("embeddings.token_embedding.weight"),
        "text_projection": state.pop("text_projection.weight").T,
    }
    for kind in ("weight", "bias"):
        named[f"ln_final.{kind}"] = state.pop(f"final_layer_norm.{kind}")
        for layer in sorted({key.split(".")[2] for key in state if key.startswith("encoder.")}):
            parts = [state.pop(f"encoder.layers.{layer}.self_attn.{part}_proj.{kind}") for part in "qkv"]
            named[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    for key, value in state.items():
        _, _, layer, rest = key.split(".", 3)
        inner, _, kind = rest.rpartition(".")
        named[f"transformer.resblocks.{layer}.{OPEN_CLIP[inner]}.{kind}"] = value
    return named
