"""Which layers of a transformer that draws, FLUX's or Qwen-Image's, a LoRA changes."""

from data_contracts.faults import InputFault
from models.diffusion.lora_file import AdapterSize

ATTENTION_LAYERS = r"(single_)?transformer_blocks\.\d+\.attn\.(to_q|to_k|to_v|to_out\.0)"
"""Query, key, value and output of the picture's own tokens: what the field trains by default."""


def require_no_convolutions(size: AdapterSize, family: str) -> None:
    """Refuse an adapter for convolutions, of which these transformers have none.

    Raises:
        InputFault: it is for convolutions.
    """
    if size.conv_rank:
        message = f"conv_rank is {size.conv_rank}, but {family} has no convolutions: set it to 0"
        raise InputFault(message)
