"""Adapters inside the networks: fresh ones to train, and LoRA files stacked with weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from data_contracts.faults import InputFault
from data_contracts.generation import BlockGroup
from models.diffusion.dora import is_dora, set_dora_strengths
from models.diffusion.families import DENOISER, DiffusionModel, networks_of
from models.diffusion.lora_file import PEFT_MAGNITUDE, AdapterSize, LoraModule, load_kohya
from models.diffusion.textual_inversion import speak, words_off
from models.diffusion.unet_layers import CONVOLUTIONS


def add_fresh_adapter(network: torch.nn.Module, layers: str, name: str, size: AdapterSize) -> None:
    """Add a trainable LoRA, float32, to the layers of `network` that match; at first it changes nothing.

    Its start is drawn from torch's global generator: seed that before.
    """
    inject_adapter_in_model(
        LoraConfig(
            r=size.rank,
            lora_alpha=size.alpha,  # type: ignore[arg-type]
            rank_pattern={CONVOLUTIONS: size.conv_rank} if size.conv_rank else {},
            alpha_pattern={CONVOLUTIONS: size.conv_alpha} if size.conv_rank else {},
            target_modules=layers,
            use_dora=size.dora,
        ),
        network,
        adapter_name=name,
    )
    for parameter in adapter_parameters(network, name).values():
        parameter.data = parameter.data.float()
        parameter.requires_grad = True


@contextmanager
def adapters_off(*networks: torch.nn.Module) -> Iterator[None]:
    """Let `networks` work as if they had no adapters, nor learnt words; what was on is on again afterwards."""
    layers = [module for network in networks for module in network.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        with words_off(*networks):
            yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)


def adapter_parameters(network: torch.nn.Module, name: str) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of the adapter `name` by their full name, in the network's order."""
    marks = (f".lora_A.{name}.", f".lora_B.{name}.", f"{PEFT_MAGNITUDE}.{name}.")
    return {key: value for key, value in network.named_parameters() if any(mark in key for mark in marks)}


def adapter_state(network: torch.nn.Module, name: str) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors in PEFT's format: `….lora_A.weight`, `….lora_B.weight`, and a DoRA's magnitudes."""
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(network, adapter_name=name)
    return state


def add_lora(model: DiffusionModel, path: Path, name: str) -> None:
    """Add the LoRA file `path` to the networks as `name`, of weight 0 until `set_lora_weights` says otherwise.

    Raises:
        InputFault: the file is no LoRA of the model's family, or was made for a base model of other layers.
    """
    weights = load_kohya(path, model.keys)
    for key, network in networks_of(model).items():
        _inject(network, weights.of(key), path, _adapter(name))


def set_lora_weights(
    model: DiffusionModel,
    weights: Mapping[str, float],
    blocks: Mapping[str, Mapping[BlockGroup, float]] | None = None,
) -> None:
    """Stack the added LoRAs named in `weights`, each times its weight; all others are off.

    What was learnt for the words of a trigger has no strength: it is read wherever the weight is not 0.

    blocks: by LoRA, what its weight is multiplied by in groups of the denoiser's blocks; those unnamed: 1.

    Raises:
        ValueError: a LoRA was not added.
        InputFault: a LoRA has weights of blocks, and the model is of a family that has no such groups.
    """
    spoken = [name for name, weight in weights.items() if weight != 0]
    known = {_adapter(name) for name in speak(spoken, *model.text_encoders.values())}
    for key, network in networks_of(model).items():
        for place, layer in network.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            known |= set(layer.lora_A)
            scales = {_adapter(name): weight for name, weight in weights.items() if _adapter(name) in layer.lora_A}
            for name, groups in (blocks or {}).items():
                if key == DENOISER and _adapter(name) in scales:
                    scales[_adapter(name)] *= groups.get(model.block_group(place), 1.0)
            _set_scales(layer, {name: scale for name, scale in scales.items() if scale != 0})
    if missing := sorted(name for name in weights if _adapter(name) not in known):
        there = sorted(name.removeprefix(_adapter("")) for name in known)
        message = f"LoRA {missing[0]!r} has a weight but was not added; there are {there}"
        raise ValueError(message)


def _set_scales(layer: LoraLayer, scales: Mapping[str, float]) -> None:
    """Have a layer's adapters named in `scales` work at that strength, and no others."""
    layer.enable_adapters(enabled=bool(scales))
    doras = {name: scale for name, scale in scales.items() if is_dora(layer, name)}
    if scales:
        layer.set_adapter(sorted(scales, key=lambda name: name not in doras), inference_mode=True)
    for name, scale in scales.items():
        if name not in doras:
            layer.set_scale(name, scale)
    if doras:
        set_dora_strengths(layer, doras)


def _adapter(name: str) -> str:
    """Return what a LoRA is called inside the networks: PEFT takes a bare number for the number of a block."""
    return f"lora_{name}"


def _inject(network: torch.nn.Module, modules: Mapping[str, LoraModule], path: Path, name: str) -> None:
    if not modules:
        return
    layers = {key.removeprefix("text_model.").replace(".", "_"): key for key in _layer_names(network)}
    if missing := sorted(set(modules) - set(layers)):
        message = f"{path} changes {missing[0]}, which {type(network).__name__} lacks: it is for another base model"
        raise InputFault(message)
    named = {layers[key]: module for key, module in modules.items()}
    first = next(iter(named.values()))
    plain = [key for key, module in named.items() if module.magnitude is None]
    if 0 < len(plain) < len(named):
        message = f"{path} has magnitudes, as a DoRA, but none for {plain[0]}: peft reads files that have all or none"
        raise InputFault(message)
    config = LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,  # type: ignore[arg-type]
        rank_pattern={f"^{key}$": module.rank for key, module in named.items() if module.rank != first.rank},
        alpha_pattern={f"^{key}$": module.alpha for key, module in named.items() if module.alpha != first.alpha},
        target_modules=list(named),
        use_dora=not plain,
    )
    inject_adapter_in_model(config, network, adapter_name=name)
    state = {f"{key}.lora_A.weight": module.down for key, module in named.items()}
    state |= {f"{key}.lora_B.weight": module.up for key, module in named.items()}
    state |= _magnitudes(network, named, name)
    _check_shapes(network, state, path, name)
    set_peft_model_state_dict(network, state, adapter_name=name)
    for parameter in adapter_parameters(network, name).values():
        parameter.requires_grad = False
    for module in network.modules():
        if isinstance(module, LoraLayer):
            module.enable_adapters(enabled=False)


def _magnitudes(network: torch.nn.Module, modules: Mapping[str, LoraModule], name: str) -> dict[str, torch.Tensor]:
    """Return a DoRA's magnitudes as PEFT has them: those of a convolution are (1, out, 1, 1)."""
    expected = adapter_state(network, name)
    found = {key + PEFT_MAGNITUDE: each.magnitude for key, each in modules.items() if each.magnitude is not None}
    return {
        key: value.reshape(expected[key].shape) if value.numel() == expected[key].numel() else value
        for key, value in found.items()
    }


def _layer_names(network: torch.nn.Module) -> list[str]:
    """Return the layers' own names, whether or not adapters already wrap them."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d, LoraLayer)
    found = (key for key, module in network.named_modules() if isinstance(module, kinds) and ".lora_" not in key)
    return [key for key in found if not key.endswith(".base_layer")]


def _check_shapes(network: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path, name: str) -> None:
    expected = adapter_state(network, name)
    for key, value in state.items():
        if expected[key].shape != value.shape:
            message = f"{path}: {key} is {tuple(value.shape)}, the base model needs {tuple(expected[key].shape)}"
            raise InputFault(message)
