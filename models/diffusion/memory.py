"""How much memory a training takes, before it is started, and how much there is.

What is kept of a step, and its peak, were counted on tensors without data (torch's FakeTensorMode, every allocation and
release followed through forward and backward pass) of networks as large as the real ones, with LoRAs in them: SD 1.5
keeps 1.09 GB of 512x512 pixels, 0.29 GB with gradient checkpointing, and the rest of SIZES alike; both grow with
pixels and batch. What a GPU adds is not in such a count: MARGIN, for norms that stay in float32 and for what its
allocator cannot reuse, and the context with the libraries' workspaces are set so that SD 1.5 at 512 pixels, batch 1,
half precision and checkpointing comes out at the 6 GB that kohya's sd-scripts is known to need. On the CPU the small
base model took 0.75 GB at 128 pixels, batch 4, and 0.97 GB at 256; the estimates are 0.90 and 1.14.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from data_contracts.faults import InputFault
from data_contracts.generation import Precision
from data_contracts.records import BaseFamily
from data_contracts.training import TrainSettings
from models.diffusion import family_of

GIGA = 1e9
BYTES: dict[Precision, float] = {"float32": 4, "bfloat16": 2, "nf4": 2}
NF4_BYTES = 0.52
"""Of each weight in 4 bits: half a byte, and its share of the scales of a block of 64, themselves in 8 bits."""
OPTIMIZER_BYTES = {"adamw": 16, "adamw8bit": 10}
"""Of each trained value: itself and its gradient in float32, and AdamW's two moments."""
FLOAT32_ACTIVATIONS = 1.7
"""As much as in bfloat16, for part of it is float32 in both."""
DORA_ACTIVATIONS = 1.9
"""As much as a LoRA keeps: each layer's output, and its adapter's, until the length of its rows has had its gradient.
Counted in SD 1.5 at 256 and 512 pixels (1.93, 1.86; with checkpointing at 512: 1.79); other families are taken alike.
"""
VAE_GB = 3.1
"""Peak for a megapixel through SD's decoder, float32; the encoder takes 2.6."""
MARGIN = 1.25
CONTEXT_GB = {"cuda": 1.2, "cpu": 0.7}
HOST_GB = 2.5
"""Host RAM beside a training on a GPU: libraries, and pictures that are being read."""


@dataclass(frozen=True)
class FamilySizes:
    """The sizes of a family of base models, parameters in millions.

    encoders_stay: whether text encoders that are not trained stay on the device once all captions are encoded.
    in_blocks: the share of the denoiser's parameters that nf4 holds in 4 bits; encoders_in_blocks: the encoders'.
    adapter: for each unit of rank; text_adapter the text encoders', conv_adapter the 3x3 convolutions'.
    kept: GB a megapixel of one picture that a step keeps, bfloat16; checkpointed: with gradient checkpointing.
    text_kept: GB besides, for its text, which in some families goes through the denoiser with the picture.
    """

    denoiser: float
    text_encoders: float
    vae: float
    adapter: float
    text_adapter: float
    conv_adapter: float
    kept: float
    checkpointed: float
    text_kept: float = 0.0
    in_blocks: float = 0.995
    encoders_in_blocks: float = 0.0
    encoders_stay: bool = False


SIZES: dict[BaseFamily, FamilySizes] = {
    "sd15": FamilySizes(
        859.5, 123.1, 83.7, 0.42, 0.17, 0.63, kept=4.2, checkpointed=1.1, in_blocks=0.31, encoders_stay=True
    ),
    "sdxl": FamilySizes(2567.5, 817.7, 83.7, 2.66, 0.90, 0.41, kept=7.3, checkpointed=0.51, in_blocks=0.87),
    "flux": FamilySizes(
        11901.4, 4885.4, 83.8, 1.17, 0.0, 0.0, kept=23.2, checkpointed=2.1, text_kept=0.2, encoders_in_blocks=0.95
    ),
    "qwen_image": FamilySizes(
        20430.4, 8292.2, 126.9, 1.48, 0.0, 0.0, kept=29.2, checkpointed=2.2, text_kept=0.1, encoders_in_blocks=0.86
    ),
    "qwen_image_edit": FamilySizes(
        20430.4, 8292.2, 126.9, 1.48, 0.0, 0.0, kept=65.5, checkpointed=4.9, text_kept=0.1, encoders_in_blocks=0.86
    ),
}
"""Adapters: the layers that kohya trains; for the last three, attention. What an edit keeps is of two pictures' tokens,
and of those by which the language model is shown the one to be edited."""
NETWORKS = {
    "denoiser": (("unet", "transformer"), ("model.diffusion_model.",)),
    "text_encoders": (("text_encoder", "text_encoder_2"), ("cond_stage_model.", "conditioner.")),
    "vae": (("vae",), ("first_stage_model.",)),
}
"""Where weights are: folders of a diffusers folder; how their names begin in a checkpoint."""
SD15_CHANNELS, SD15_LAYERS, SD_VAE_CHANNELS = (320, 640, 1280, 1280), 2, 128


@dataclass(frozen=True)
class Need:
    """What a training takes, in GB (1e9 bytes)."""

    device: float
    host: float


@dataclass(frozen=True)
class Machine:
    """The memory of this machine, in GB (1e9 bytes); `gpu` is empty where torch sees none.

    bfloat16: what trains here computes in it by itself; else it is emulated, many times slower than float32.
    """

    host: float
    host_free: float
    gpu: str = ""
    vram: float = 0.0
    vram_free: float = 0.0
    bfloat16: bool = True


def machine() -> Machine:
    """Return what is here: the first GPU that torch sees, as the trainer takes it."""
    import torch  # noqa: PLC0415

    from models.device import is_quick_in_bfloat16  # noqa: PLC0415

    ram = psutil.virtual_memory()
    host, free = ram.total / GIGA, ram.available / GIGA
    if not torch.cuda.is_available():
        return Machine(host, free, bfloat16=is_quick_in_bfloat16(torch.device("cpu")))
    vram_free, vram = torch.cuda.mem_get_info()
    return Machine(host, free, torch.cuda.get_device_name(), vram / GIGA, vram_free / GIGA)


def training_need(base: Path, settings: TrainSettings, *, on_gpu: bool) -> Need | None:
    """Return what a training of these settings takes; None where the base's family is not known.

    Weights are counted in the base's files where they are there, so that small base models come out small.
    """
    try:
        family = SIZES[family_of(base)]
    except InputFault:
        return None
    precision, trains_text = settings.precision, family.text_adapter * settings.text_encoder_learning_rate > 0
    denoiser = _parameters(base, "denoiser") or family.denoiser
    encoders = _parameters(base, "text_encoders") or family.text_encoders
    vae = _parameters(base, "vae") or family.vae
    weights = (denoiser * _bytes(precision, family.in_blocks) + vae * BYTES["float32"]) / 1e3
    reading = encoders * _bytes(precision, family.encoders_in_blocks) / 1e3
    trained = settings.rank * family.adapter + settings.conv_rank * family.conv_adapter
    trained *= math.sqrt(denoiser / family.denoiser)
    if trains_text:
        trained += settings.rank * family.text_adapter * math.sqrt(encoders / family.text_encoders)
    step = max(_step_gb(base, family, settings), _vae_gb(base, settings), _folded_gb(denoiser, family, settings))
    averaged = 2 * BYTES["float32"] if settings.ema else 0  # the average, and what it takes the place of
    learning = trained * (OPTIMIZER_BYTES[settings.optimizer] + averaged) / 1e3 + step
    stays = family.encoders_stay or trains_text or settings.embedding_vectors > 0
    total = (weights + (reading + learning if stays else max(reading, learning))) * MARGIN
    if not on_gpu:
        total = settings.processes * (total + (0.0 if stays else reading) + CONTEXT_GB["cpu"])
        return Need(total, total)
    read = max(denoiser, encoders) * BYTES[precision] / 1e3  # one after another, rounded only then
    beside = settings.processes * (max(read, 0.0 if stays else reading) + HOST_GB)
    return Need(total + CONTEXT_GB["cuda"], beside)


def _bytes(precision: Precision, in_blocks: float) -> float:
    """Return the bytes of a parameter, on average, of a network of which nf4 holds this share in 4 bits."""
    return in_blocks * NF4_BYTES + (1 - in_blocks) * BYTES["nf4"] if precision == "nf4" else BYTES[precision]


def _step_gb(base: Path, family: FamilySizes, settings: TrainSettings) -> float:
    """Return what a forward and backward pass keeps at its peak."""
    kept = family.checkpointed if settings.gradient_checkpointing else family.kept
    one = (family.text_kept + kept * settings.resolution**2 / 1e6) * settings.batch * _width(base)
    one *= DORA_ACTIVATIONS if settings.dora else 1.0
    return one * (FLOAT32_ACTIVATIONS if settings.precision == "float32" else 1.0)


def _vae_gb(base: Path, settings: TrainSettings) -> float:
    """Return the peak of one picture through the VAE, which is not at the time of a step."""
    channels = _read(base / "vae" / "config.json").get("block_out_channels") or [SD_VAE_CHANNELS]
    return float(VAE_GB * settings.resolution**2 / 1e6 * channels[0] / SD_VAE_CHANNELS)


def _folded_gb(denoiser: float, family: FamilySizes, settings: TrainSettings) -> float:
    """Return what is kept of the weights into which a LoRA is folded while pictures are drawn, between two steps."""
    if settings.precision != "float32" or not (settings.sample_every or settings.validate_drawn):
        return 0.0
    return denoiser * (1.0 if settings.conv_rank else family.in_blocks) * BYTES["float32"] / 1e3


def _width(base: Path) -> float:
    """Return how wide a U-Net of SD 1.x's kind is beside SD 1.5's: channels by the share of pixels they stand for."""
    config = _read(base / "unet" / "config.json")
    if config.get("addition_embed_type") == "text_time" or not config.get("block_out_channels"):
        return 1.0
    layers = config.get("layers_per_block", SD15_LAYERS)
    return _features(config["block_out_channels"], layers) / _features(SD15_CHANNELS, SD15_LAYERS)


def _features(channels: Any, layers: Any) -> float:  # noqa: ANN401  as a network's config.json has them
    each = [layers] * len(channels) if isinstance(layers, int) else layers
    return float(
        sum(count * width / 4**level for level, (width, count) in enumerate(zip(channels, each, strict=False)))
    )


def _parameters(base: Path, network: str) -> float:
    """Return the millions of parameters in the safetensors files of one of NETWORKS; 0 where there are none."""
    from safetensors import safe_open  # noqa: PLC0415

    folders, beginnings = NETWORKS[network]
    files, begins = ([base], beginnings) if base.is_file() else (_files_in(base, folders), ("",))
    total = 0
    for file in files:
        with safe_open(file, framework="np") as tensors:
            names = [name for name in tensors.keys() if name.startswith(begins)]  # noqa: SIM118
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    return total / 1e6


def _files_in(base: Path, folders: tuple[str, ...]) -> list[Path]:
    """Return the safetensors files in folders of a diffusers folder, but no weights twice: `.fp16.` is a copy."""
    found: list[Path] = []
    for folder in folders:
        files = sorted((base / folder).glob("*.safetensors"))
        found += [file for file in files if ".fp16." not in file.name] or files
    return found


def _read(file: Path) -> dict[str, Any]:
    """Return a JSON object, empty where there is no such file or it holds something else."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
