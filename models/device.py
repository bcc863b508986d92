"""Where networks compute."""

import os
import shutil
from importlib.util import find_spec

import torch

_BFLOAT16 = ("amx_bf16", "avx512_bf16")


def gpu_or_cpu() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_precision(device: torch.device) -> torch.dtype:
    """Return the half precision in which `device` runs networks; float32 on a CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def is_quick_in_bfloat16(device: torch.device) -> bool:
    """Return whether `device` computes in bfloat16 by itself.

    A CPU without such instructions emulates them: one step of the `lite` base model's U-Net took 23 s instead of 2.
    """
    return device.type != "cpu" or any(torch.cpu.get_capabilities().get(each, False) for each in _BFLOAT16)


def no_compiling(device: torch.device) -> str:
    """Return why torch cannot compile networks for `device`, with what to do; empty where it can."""
    if device.type == "cuda":
        lacking = "" if find_spec("triton") else "Triton is not installed: pip install triton"
    else:
        compiler = os.environ.get("CXX", "g++")
        there = shutil.which(compiler)
        lacking = "" if there else f"there is no C++ compiler {compiler!r}: install g++, or name one in CXX"
    return lacking and f"compile is on, but {lacking}; or set compile to false"
