"""A Qwen-Image of random weights, small enough to train anywhere in seconds."""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

from tests.models.tiny_qwen import KINDS, MARKS, MROPE, TEXT, WIDTH, byte_tokenizer


def make_random_qwen_image(folder: Path, seed: int = 0) -> Path:
    """Write the base model to `folder` and return it."""
    tokenizer = byte_tokenizer("")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline: Any = QwenImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(
                use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
            ),
            vae=AutoencoderKLQwenImage(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
            text_encoder=_reader(tokenizer),
            tokenizer=tokenizer,
            transformer=QwenImageTransformer2DModel(
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            ),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def make_random_qwen_image_edit(folder: Path, seed: int = 0) -> Path:
    """Write the base model that edits pictures to `folder` and return it: the same networks, and a picture processor.

    diffusers' own pipeline cannot be made here to be saved: its processor wants torchvision.
    """
    make_random_qwen_image(folder, seed)
    index = json.loads((folder / "model_index.json").read_text())
    processor = {"_class_name": "QwenImageEditPipeline", "processor": ["transformers", "Qwen2VLProcessor"]}
    (folder / "model_index.json").write_text(json.dumps({**index, **processor}))
    vision = json.loads((folder / "text_encoder/config.json").read_text())["vision_config"]
    sizes = {"patch_size": vision["patch_size"], "merge_size": vision["spatial_merge_size"]}
    transformers.Qwen2VLImageProcessorPil(**sizes).save_pretrained(folder / "processor")
    return folder


def _reader(tokenizer: Any) -> Any:
    marks = dict(zip(MARKS, tokenizer.convert_tokens_to_ids(list(MARKS)), strict=True))
    name, vision = KINDS["qwen2_5_vl"]
    config = getattr(transformers, f"{name}Config")(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": MROPE},
        vision_config=vision,
        image_token_id=marks["<|image_pad|>"],
        video_token_id=marks["<|video_pad|>"],
        vision_start_token_id=marks["<|vision_start|>"],
        vision_end_token_id=marks["<|vision_end|>"],
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config)
