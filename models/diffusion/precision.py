"""How a base model's weights are held, and what that needs."""

from functools import partial
from typing import TYPE_CHECKING

from models.backends import Backend, Backends
from models.weights import BITSANDBYTES

if TYPE_CHECKING:
    import torch


def _dtype(name: str) -> "torch.dtype":
    import torch  # noqa: PLC0415

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


PRECISIONS: "Backends[torch.dtype]" = Backends(
    "precision",
    {
        "float32": Backend(partial(_dtype, "float32")),
        "bfloat16": Backend(partial(_dtype, "bfloat16")),
        "nf4": Backend(partial(_dtype, "bfloat16"), (BITSANDBYTES,)),
    },
)
"""By the names of `data_contracts.generation.Precision`: the type of what is not held in 4 bits, and of arithmetic."""
