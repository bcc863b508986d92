"""How the LoRA files of each family call what they change, without a base model being loaded."""

from data_contracts.records import BaseFamily
from models.diffusion.flux_keys import FLUX_KEYS
from models.diffusion.lora_file import SD1_KEYS, KeyFormat
from models.diffusion.qwen_keys import QWEN_EDIT_KEYS, QWEN_KEYS
from models.diffusion.sgm_keys import SDXL_KEYS

KEY_FORMATS: dict[BaseFamily, KeyFormat] = {
    "sd15": SD1_KEYS,
    "sdxl": SDXL_KEYS,
    "flux": FLUX_KEYS,
    "qwen_image": QWEN_KEYS,
    "qwen_image_edit": QWEN_EDIT_KEYS,
}


def no_dora(keys: KeyFormat) -> str:
    """Return why no DoRA of a family can be written, and what to do; empty where one can."""
    if keys.magnitude_ending:
        return ""
    return (
        f"dora is on, but LoRA files of {keys.family} join layers of which not all are trained, and cannot hold a "
        "DoRA's magnitudes: set dora to false"
    )


def no_embedding(keys: KeyFormat) -> str:
    """Return why no vectors of a trigger can be learnt for a family, and what to do; empty where they can."""
    if keys.embedding_keys:
        return ""
    return (
        f"embedding_vectors is above 0, but {keys.family} is drawn with text encoders that no program adds words to: "
        "set it to 0"
    )
