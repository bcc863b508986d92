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
