"""Base models as one .safetensors file, as the field shares its own: Stable Diffusion 1.x and XL.

The file holds weights alone. What else there is, tokenizers, sizes and the noise schedule, comes from the folder that
the family's first model was published in: no more than its small files, and those from the hub's cache.
"""

# mypy: disable-error-code="no-untyped-call"

from pathlib import Path
from typing import Any

from data_contracts.faults import InputFault
from data_contracts.records import BaseFamily
from models.weights import HubModel, MissingWeights

_ENCODER = ("text_encoder/config.json", "tokenizer/merges.txt", "tokenizer/vocab.json")
_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "vae/config.json",
    *_ENCODER,
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
)
_SECOND = tuple(
    file.replace("tokenizer/", "tokenizer_2/").replace("text_encoder/", "text_encoder_2/")
    for file in (*_ENCODER, "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json")
)
CONFIGURATIONS: dict[BaseFamily, HubModel] = {
    "sd15": HubModel(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "CreativeML-OpenRAIL-M",
        1.6,
        _FILES,
    ),
    "sdxl": HubModel(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "462165984030d82259a11f4367a4eed129e94a7b",
        "OpenRAIL++",
        3.2,
        (*_FILES, *_SECOND),
    ),
}
_SIGNS: dict[BaseFamily, tuple[str, ...]] = {
    "sdxl": ("model.diffusion_model.", "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
    "sd15": ("model.diffusion_model.", "cond_stage_model.transformer."),
}


def checkpoint_family(file: Path) -> BaseFamily:
    """Return the family of the checkpoint `file`, by the names of its tensors.

    Raises:
        InputFault: it is no .safetensors file, or none of Stable Diffusion 1.x or XL with all its networks.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    if file.suffix != ".safetensors":
        message = f"base model {file}: give a diffusers folder or a .safetensors file; others may run code when opened"
        raise InputFault(message)
    try:
        with safe_open(file, framework="np") as tensors:
            names = list(tensors.keys())
    except SafetensorError as error:
        message = f"base model {file} cannot be read as safetensors: {error}"
        raise InputFault(message) from error
    for family, signs in _SIGNS.items():
        if all(any(name.startswith(sign) for name in names) for sign in signs):
            return family
    message = f"base model {file} is no whole checkpoint of Stable Diffusion 1.x or XL; give a diffusers folder instead"
    raise InputFault(message)


def configuration_folder(file: Path) -> Path:
    """Return the folder that has all but the weights of the checkpoint `file`, tokenizers among them.

    Raises:
        InputFault: it is no checkpoint of a known family, or its family's configuration is not in the hub's cache.
    """
    try:
        return CONFIGURATIONS[checkpoint_family(file)].path()
    except MissingWeights as missing:
        message = f"base model {file} holds weights alone, and {missing}"
        raise InputFault(message) from missing


def configuration_of(base: Path) -> HubModel | None:
    """Return what loading `base` needs besides its own files; None for a folder, which holds everything.

    Raises:
        InputFault: it is a file, but no checkpoint of a known family.
    """
    return CONFIGURATIONS[checkpoint_family(base)] if base.is_file() else None


def read_checkpoint(pipeline: Any, file: Path, family: BaseFamily, configurations: Path | None = None) -> Any:  # noqa: ANN401
    """Return diffusers' pipeline of the class `pipeline`, float32, with the weights in `file`; nothing is fetched.

    configurations: the folder that has all but the weights; None: the family's own, in the hub's cache.

    Raises:
        MissingWeights: the family's configuration files are not in the hub's cache.
    """
    import torch  # noqa: PLC0415

    folder = configurations or CONFIGURATIONS[family].path()
    parts = {"safety_checker": None, "feature_extractor": None} if family == "sd15" else {}
    return pipeline.from_single_file(str(file), config=str(folder), local_files_only=True, dtype=torch.float32, **parts)
