"""Qwen2-VL, 2.5-VL and 3-VL of random weights: the right classes and files, small enough for any machine.

Saved as their pages on the hub have them, so that the production call loads them. A random one babbles; one that
`says` a text answers just that, whatever it is asked.
"""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Qwen2Tokenizer, Qwen2VLImageProcessorPil
from transformers.convert_slow_tokenizer import bytes_to_unicode

MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH = 32
TEXT = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1}  # fmt: skip
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
VISION = {"depth": 2, "num_heads": 2}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", {**VISION, "embed_dim": 16, "hidden_size": WIDTH, "mlp_ratio": 2}),
    "qwen2_5_vl": (
        "Qwen2_5_VL",
        {**VISION, "hidden_size": 16, "intermediate_size": 32, "out_hidden_size": WIDTH, "fullatt_block_indexes": [1]},
    ),
    "qwen3_vl": (
        "Qwen3VL",
        {**VISION, "hidden_size": 16, "intermediate_size": 32, "out_hidden_size": WIDTH,
         "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
    ),
}  # fmt: skip


def save_qwen(folder: Path, kind: str = "qwen2_vl", says: str = "") -> Path:
    """Save a network of `kind`, its tokenizer, its chat template and how it wants its pictures."""
    tokenizer = byte_tokenizer(says)
    marks = dict(zip(MARKS, tokenizer.convert_tokens_to_ids(list(MARKS)), strict=True))
    name, vision = KINDS[kind]
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": MROPE}
    if kind == "qwen3_vl":
        text |= {"head_dim": 16, "rope_parameters": {**MROPE, "mrope_interleaved": True}}
    config = getattr(transformers, f"{name}Config")(
        text_config=text, vision_config=vision,
        image_token_id=marks["<|image_pad|>"], video_token_id=marks["<|video_pad|>"],
        vision_start_token_id=marks["<|vision_start|>"], vision_end_token_id=marks["<|vision_end|>"],
    )  # fmt: skip
    torch.manual_seed(5)
    network = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    if says:
        answer_with(network, *tokenizer.convert_tokens_to_ids(["Ċ", says, "<|im_end|>"]))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT}))
    seen = network.config.vision_config
    Qwen2VLImageProcessorPil(patch_size=seen.patch_size, merge_size=seen.spatial_merge_size).save_pretrained(folder)
    return folder


def byte_tokenizer(says: str) -> Qwen2Tokenizer:
    """Return a tokenizer of single bytes, Qwen's marks and, as one token, what the network shall say."""
    letters = {letter: number for number, letter in enumerate(sorted(bytes_to_unicode().values()))}
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = Qwen2Tokenizer(vocab=letters, merges=[], **ends)
    tokenizer.add_tokens(list(MARKS), special_tokens=True)
    if says:
        tokenizer.add_tokens([says])
    return tokenizer


@torch.no_grad()
def answer_with(network: Any, newline: int, answer: int, end: int) -> None:
    """Make the next token depend on the last one alone: the answer after a prompt's newline, then the end."""
    words = network.model.language_model
    for layer in words.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    seen = words.norm(words.embed_tokens.weight)  # (tokens, width)
    network.lm_head.weight.zero_()
    network.lm_head.weight[answer], network.lm_head.weight[end] = seen[newline], seen[answer]
