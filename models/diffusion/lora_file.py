"""LoRA files in the key format of kohya's sd-scripts, which every Stable Diffusion program reads.

A module `M` is three tensors: `P_M.lora_down.weight` (rank, in…), `P_M.lora_up.weight` (out, rank…) and `P_M.alpha`,
where `P` names the network and M's dots are underscores. Its output changes by `alpha / rank * up(down(x))`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open

from data_contracts.faults import InputFault

Tensors = dict[str, torch.Tensor]
UNET_PREFIX = "lora_unet_"
TEXT_ENCODER_PREFIX = "lora_te_"
_TEXT_ENCODER_ALIASES = ("lora_te1_", TEXT_ENCODER_PREFIX)
_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"


@dataclass(frozen=True)
class LoraModule:
    """The change that a LoRA makes to one layer."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Inner dimension."""
        return int(self.down.shape[0])


@dataclass(frozen=True)
class AdapterSize:
    """Inner dimension and alpha of an adapter; its 3x3 convolutions have their own, kohya's conv_dim and conv_alpha.

    conv_rank is 0 where convolutions are not changed, or there are none.
    """

    rank: int
    alpha: float
    conv_rank: int = 0
    conv_alpha: float = 1.0

    def alpha_of(self, down: torch.Tensor) -> float:
        """Return the alpha that belongs to a module's `lora_down.weight`."""
        return self.conv_alpha if down.shape[2:].numel() > 1 else self.alpha


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA file: its modules by network and underscored name, and what it says of itself."""

    unet: dict[str, LoraModule]
    text_encoder: dict[str, LoraModule]
    metadata: dict[str, str]


def from_peft(state: Mapping[str, torch.Tensor], size: AdapterSize) -> dict[str, LoraModule]:
    """Return the modules of a PEFT state `….lora_A.weight`, `….lora_B.weight`, by underscored name.

    Raises:
        ValueError: a key is neither, or has no partner: the adapter is no plain LoRA.
    """
    downs = {key.removesuffix(".lora_A.weight"): key for key in sorted(state) if key.endswith(".lora_A.weight")}
    expected = set(downs.values()) | {f"{name}.lora_B.weight" for name in downs}
    if strange := sorted(expected ^ set(state)):
        message = f"adapter tensor {strange[0]!r} is not one of a pair lora_A, lora_B: only plain LoRA can be saved"
        raise ValueError(message)
    return {
        name.replace(".", "_"): LoraModule(state[key], state[f"{name}.lora_B.weight"], size.alpha_of(state[key]))
        for name, key in downs.items()
    }


def save_kohya(path: Path, weights: LoraWeights) -> None:
    """Write `weights` to `path`, beside and renamed. The same weights and metadata give the same bytes.

    Text-encoder modules are written behind `text_model_`, as in every SD 1.x file, whatever transformers calls them.
    """
    named = {UNET_PREFIX + name: module for name, module in weights.unet.items()}
    for name, module in weights.text_encoder.items():
        named[f"{TEXT_ENCODER_PREFIX}text_model_{name.removeprefix('text_model_')}"] = module
    tensors: Tensors = {}
    for name, module in sorted(named.items()):
        tensors[name + _DOWN] = module.down.detach().float().cpu().contiguous()
        tensors[name + _UP] = module.up.detach().float().cpu().contiguous()
        tensors[name + _ALPHA] = torch.tensor(float(module.alpha))
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(_serialised(tensors, weights.metadata))
    beside.replace(path)


def load_kohya(path: Path) -> LoraWeights:
    """Read a LoRA of SD 1.x in kohya's key format.

    Raises:
        InputFault: the file is missing, or holds something else than plain LoRA modules of SD 1.x.
    """
    if not path.is_file():
        message = f"LoRA file {path} does not exist"
        raise InputFault(message)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  the handle is no mapping
        metadata = dict(file.metadata() or {})
    networks: dict[str, dict[str, LoraModule]] = {"unet": {}, "text_encoder": {}}
    for key in sorted(key for key in tensors if key.endswith(_DOWN)):
        module = key.removesuffix(_DOWN)
        network, name = _split_prefix(module, path)
        networks[network][name] = _take_module(tensors, module, path)
    if tensors or not any(networks.values()):
        strange = min(tensors) if tensors else "nothing"
        message = f"{path} holds {strange!r}, which is no part of a plain LoRA in kohya's format for SD 1.x"
        raise InputFault(message)
    return LoraWeights(networks["unet"], networks["text_encoder"], metadata)


def _take_module(tensors: Tensors, module: str, path: Path) -> LoraModule:
    down = tensors.pop(module + _DOWN)
    if module + _UP not in tensors:
        message = f"{path} has {module}{_DOWN}, but no {module}{_UP}: the file is incomplete"
        raise InputFault(message)
    alpha = tensors.pop(module + _ALPHA, torch.tensor(float(down.shape[0])))  # kohya: no alpha means alpha = rank
    return LoraModule(down, tensors.pop(module + _UP), float(alpha))


def _split_prefix(module: str, path: Path) -> tuple[str, str]:
    if module.startswith(UNET_PREFIX):
        return "unet", module.removeprefix(UNET_PREFIX)
    for prefix in _TEXT_ENCODER_ALIASES:
        if module.startswith(prefix):
            return "text_encoder", module.removeprefix(prefix).removeprefix("text_model_")
    message = f"{path} changes {module!r}, which is in neither the U-Net nor the text encoder of SD 1.x"
    raise InputFault(message)


def _serialised(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """Return the file's bytes, its metadata in order of their keys: safetensors itself writes them in a random one."""
    plain = safetensors.torch.save(tensors)
    start = 8 + int.from_bytes(plain[:8], "little")
    data_hash = hashlib.sha256(plain[start:]).hexdigest()
    # What AUTOMATIC1111 and ComfyUI know a LoRA by: kohya's hash of the tensors without the header.
    hashes = {"sshs_model_hash": data_hash, "modelspec.hash_sha256": f"0x{data_hash}"}
    header = {"__metadata__": dict(sorted({**metadata, **hashes}.items())), **json.loads(plain[8:start])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + plain[start:]
