"""LoRA files in the key format of kohya's sd-scripts, which every Stable Diffusion program reads.

A module `M` is three tensors: `P_M.lora_down.weight` (rank, in…), `P_M.lora_up.weight` (out, rank…) and `P_M.alpha`,
where `P` names the network and M's dots are underscores. Its output changes by `alpha / rank * up(down(x))`. One of a
DoRA has `P_M.dora_scale` (out, 1…) besides, as LyCORIS and ComfyUI call the lengths of the weight's rows. What differs
from family to family, a `KeyFormat` says.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open

from data_contracts.faults import InputFault
from data_contracts.whole_file import whole_file

Tensors = dict[str, torch.Tensor]
UNET_PREFIX = "lora_unet_"
PEFT_MAGNITUDE = ".lora_magnitude_vector"
KOHYA_ENDINGS = (".lora_down.weight", ".lora_up.weight", ".alpha")


@dataclass(frozen=True)
class LoraModule:
    """The change that a LoRA makes to one layer."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    magnitude: torch.Tensor | None = None  # (out,) of a DoRA

    @property
    def rank(self) -> int:
        """Inner dimension."""
        return int(self.down.shape[0])


Modules = dict[str, LoraModule]
"""What a LoRA changes in one network, by the layers' names, dots as underscores."""


@dataclass(frozen=True)
class KeyFormat:
    """How a family's LoRA files call what they change.

    family: what messages call it.
    prefixes: of each network, by its field of LoraWeights; the first is written, all are read.
    to_file, from_file: turn the denoiser's modules as diffusers calls them into those of a file, and back.
    endings: of the tensors of a module: down, up, alpha.
    magnitude_ending: of the tensor of a DoRA's magnitudes; empty where files of the family cannot hold them.
    embedding_keys: what a file with learnt vectors for a trigger calls those of each text encoder; empty where none can
        be learnt.
    base_version, network_module, architecture: what the metadata calls base model and LoRA, in kohya's words the
        first two and in Stability's the last.
    """

    family: str
    prefixes: Mapping[str, tuple[str, ...]]
    to_file: Callable[[Modules], Modules] = dict
    from_file: Callable[[Modules], Modules] = dict
    endings: tuple[str, str, str] = KOHYA_ENDINGS
    magnitude_ending: str = ".dora_scale"
    embedding_keys: Mapping[str, str] = field(default_factory=dict)
    base_version: str = "sd_v1"
    network_module: str = "networks.lora"
    architecture: str = "stable-diffusion-v1/lora"


SD1_KEYS = KeyFormat(
    "SD 1.x",
    {"unet": (UNET_PREFIX,), "text_encoder": ("lora_te_", "lora_te1_")},
    embedding_keys={"text_encoder": "emb_params"},
)


@dataclass(frozen=True)
class AdapterSize:
    """Inner dimension and alpha of an adapter; its 3x3 convolutions have their own, kohya's conv_dim and conv_alpha.

    conv_rank is 0 where convolutions are not changed, or there are none. dora: whether it learns magnitudes as well.
    """

    rank: int
    alpha: float
    conv_rank: int = 0
    conv_alpha: float = 1.0
    dora: bool = False

    def alpha_of(self, down: torch.Tensor) -> float:
        """Return the alpha that belongs to a module's `lora_down.weight`."""
        return self.conv_alpha if down.shape[2:].numel() > 1 else self.alpha


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA file: its modules by network and underscored name, and what it says of itself.

    unet: the denoiser, which kohya calls so in all families.
    text_encoder_2: SDXL's larger one.
    """

    unet: Modules
    text_encoder: Modules
    metadata: dict[str, str]
    text_encoder_2: Modules = field(default_factory=dict)

    @property
    def is_dora(self) -> bool:
        """Whether it changes the lengths of weights' rows besides."""
        every = (*self.unet.values(), *self.text_encoder.values(), *self.text_encoder_2.values())
        return any(module.magnitude is not None for module in every)

    def of(self, network: str) -> Modules:
        """Return the modules of one network."""
        return {"unet": self.unet, "text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}[network]


def from_peft(state: Mapping[str, torch.Tensor], size: AdapterSize) -> Modules:
    """Return the modules of a PEFT state `….lora_A.weight`, `….lora_B.weight`, by underscored name.

    A DoRA's state has `….lora_magnitude_vector` besides.

    Raises:
        ValueError: a key is none of these, or has no partner: the adapter is no LoRA.
    """
    downs = {key.removesuffix(".lora_A.weight"): key for key in sorted(state) if key.endswith(".lora_A.weight")}
    expected = set(downs.values()) | {f"{name}.lora_B.weight" for name in downs}
    if size.dora:
        expected |= {name + PEFT_MAGNITUDE for name in downs}
    if strange := sorted(expected ^ set(state)):
        message = f"adapter tensor {strange[0]!r} is not one of a pair lora_A, lora_B: only LoRA and DoRA can be saved"
        raise ValueError(message)
    return {
        name.replace(".", "_"): LoraModule(
            state[key],
            state[f"{name}.lora_B.weight"],
            size.alpha_of(state[key]),
            state[name + PEFT_MAGNITUDE].flatten() if size.dora else None,
        )
        for name, key in downs.items()
    }


def save_kohya(path: Path, weights: LoraWeights, keys: KeyFormat = SD1_KEYS) -> None:
    """Write `weights` to `path`, beside and renamed. The same weights and metadata give the same bytes.

    Text-encoder modules are written behind `text_model_`, as in every file of kohya's, whatever transformers calls
    them.
    """
    named: Modules = {}
    for network, prefixes in keys.prefixes.items():
        modules = weights.of(network)
        if network == "unet":
            named |= {prefixes[0] + name: module for name, module in keys.to_file(modules).items()}
        else:
            for name, module in modules.items():
                named[f"{prefixes[0]}text_model_{name.removeprefix('text_model_')}"] = module
    down, up, alpha = keys.endings
    tensors: Tensors = {}
    for name, module in sorted(named.items()):
        tensors[name + down] = module.down.detach().float().cpu().contiguous()
        tensors[name + up] = module.up.detach().float().cpu().contiguous()
        tensors[name + alpha] = torch.tensor(float(module.alpha))
        if module.magnitude is not None:
            lengths = module.magnitude.detach().float().cpu().contiguous()
            tensors[name + keys.magnitude_ending] = lengths.reshape(-1, *[1] * (module.down.dim() - 1))
    with whole_file(path) as beside:
        beside.write_bytes(serialised(tensors, weights.metadata))


def load_kohya(path: Path, keys: KeyFormat = SD1_KEYS) -> LoraWeights:
    """Read a LoRA of the family that `keys` are of.

    Raises:
        InputFault: the file is missing, or holds something else than plain LoRA modules of that family.
    """
    if not path.is_file():
        message = f"LoRA file {path} does not exist"
        raise InputFault(message)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  the handle is no mapping
        metadata = dict(file.metadata() or {})
    networks: dict[str, Modules] = {"unet": {}, "text_encoder": {}, "text_encoder_2": {}}
    for key in sorted(key for key in tensors if key.endswith(keys.endings[0])):
        module = key.removesuffix(keys.endings[0])
        network, name = _split_prefix(module, keys, path)
        networks[network][name] = _take_module(tensors, module, keys, path)
    if tensors or not any(networks.values()):
        strange = min(tensors) if tensors else "nothing"
        message = f"{path} holds {strange!r}, which is no part of a plain LoRA for {keys.family}"
        raise InputFault(message)
    try:
        unet = keys.from_file(networks["unet"])
    except ValueError as error:
        message = f"{path}: {error}"
        raise InputFault(message) from error
    return LoraWeights(unet, networks["text_encoder"], metadata, networks["text_encoder_2"])


def _take_module(tensors: Tensors, module: str, keys: KeyFormat, path: Path) -> LoraModule:
    down_ending, up_ending, alpha_ending = keys.endings
    down = tensors.pop(module + down_ending)
    if module + up_ending not in tensors:
        message = f"{path} has {module}{down_ending}, but no {module}{up_ending}: the file is incomplete"
        raise InputFault(message)
    alpha = tensors.pop(module + alpha_ending, torch.tensor(float(down.shape[0])))  # no alpha means alpha = rank
    up = tensors.pop(module + up_ending)
    magnitude = tensors.pop(module + keys.magnitude_ending, None) if keys.magnitude_ending else None
    if magnitude is not None and (magnitude.numel() != len(up) or magnitude.shape[0] != len(up)):
        message = (
            f"{path}: {module}{keys.magnitude_ending} is {tuple(magnitude.shape)}, but there are {len(up)} outputs: "
            "a DoRA of lengths by input is not read, train it by output (LyCORIS: wd_on_output)"
        )
        raise InputFault(message)
    return LoraModule(down, up, float(alpha), None if magnitude is None else magnitude.flatten())


def _split_prefix(module: str, keys: KeyFormat, path: Path) -> tuple[str, str]:
    for network, prefixes in keys.prefixes.items():
        for prefix in prefixes:
            if module.startswith(prefix):
                return network, module.removeprefix(prefix).removeprefix("text_model_")
    message = f"{path} changes {module!r}, which is in no network of {keys.family} that LoRAs change"
    raise InputFault(message)


def serialised(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
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
