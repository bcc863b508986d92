"""Networks whose weights are held in 4 bits: NF4, whose 16 levels are the quantiles of a normal distribution.

So FLUX.1 and Qwen-Image, of 24 and 41 GB in bfloat16, are trained and drawn with on a GPU of 24 GB. A frozen weight is
unpacked when it is needed; what is learnt on top of it stays float32. Dettmers et al., QLoRA: Efficient Finetuning of
Quantized LLMs, 2023, 3.
"""

# mypy: disable-error-code="no-untyped-call"

import re
from typing import Any

import torch

_IN_A_BLOCK = re.compile(r"(^|\.)\d+\.")


def hold_in_four_bits(network: Any) -> None:  # noqa: ANN401  networks of several libraries
    """Have the linear layers of a network's repeated blocks rounded to NF4 when it is next moved to a device.

    Embeddings, norms, convolutions and the layers before and after the blocks stay as they are: few weights, on which
    all others depend.
    """
    for name, module in list(network.named_modules()):
        for key, layer in list(module.named_children()):
            if type(layer) is torch.nn.Linear and _IN_A_BLOCK.search(f"{name}.{key}"):
                setattr(module, key, _in_four_bits(layer))


def _in_four_bits(layer: torch.nn.Linear) -> Any:  # noqa: ANN401  Linear4bit, which declares no types
    from bitsandbytes.nn.modules import Linear4bit, Params4bit  # noqa: PLC0415

    held = Linear4bit(
        layer.in_features, layer.out_features, compute_dtype=torch.bfloat16, quant_type="nf4", device="meta"
    )
    held.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    held.bias = layer.bias
    # On such CPUs bitsandbytes would repack weights, and round their scales, in the first call without gradients: what
    # a run computes would depend on when it drew its sample pictures.
    held.support_avx512bf16_for_cpu = False
    return held
