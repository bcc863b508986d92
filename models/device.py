"""Where networks compute."""

import torch


def gpu_or_cpu() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
