"""SAM 2 and 3, Grounding DINO and OWLv2 of random weights: the right classes and files, small enough for any machine.

Saved as their pages on the hub have them, so that the production calls load them. What they find means nothing.
"""

# mypy: disable-error-code="no-untyped-call"

import json
from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam3VideoConfig,
    Sam3VideoModel,
)

from models.diffusion.vocabulary import cut_tokenizer
from models.weights import HubModel

SIDE = 128
WIDTH = 128


def hub_folder(cache: Path, model: HubModel) -> Path:
    """Return the folder where the hub keeps `model` in its `cache`, made."""
    folder = cache / f"models--{model.repository.replace('/', '--')}" / "snapshots" / model.revision
    folder.mkdir(parents=True)
    return folder


def save_sam2(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    Sam2VideoModel(sam2_config()).save_pretrained(folder)
    return folder


def sam2_config() -> Sam2VideoConfig:
    finest = SIDE // 4
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 4],
        "window_size_per_stage": [8, 4, 4, 2], "global_attention_blocks": [3], "image_size": [SIDE, SIDE],
    }  # fmt: skip
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "fpn_hidden_size": WIDTH, "backbone_feature_sizes": [[finest // step] * 2 for step in (1, 2, 4)],
    }  # fmt: skip
    decoder = {"hidden_size": WIDTH, "mlp_dim": 64, "iou_head_hidden_dim": WIDTH, "num_attention_heads": 2}
    return Sam2VideoConfig(
        vision_config=vision, prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE},
        mask_decoder_config=decoder, image_size=SIDE, memory_attention_hidden_size=WIDTH, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64, memory_attention_rope_feat_sizes=[finest // 4] * 2,
        memory_encoder_hidden_size=WIDTH, mask_downsampler_embed_dim=WIDTH, memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=64,
    )  # fmt: skip


def save_grounding_dino(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    text = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "vocab_size": 1100}  # fmt: skip
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4,
            "out_features": ["stage2", "stage3", "stage4"], "out_indices": [2, 3, 4]}  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=text, d_model=32, encoder_layers=1, encoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_layers=2, decoder_ffn_dim=32, decoder_attention_heads=2, num_queries=40,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder


def bert_tokenizer() -> BertTokenizer:
    """Return a tokenizer with BERT's own numbers for the marks that split a prompt into phrases."""
    places = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    words = ["a", "boy", "ani", "##mal", "sea", "monster", "person"]
    places |= {1037 + number: word for number, word in enumerate(words)}
    return BertTokenizer(vocab={places.get(number, f"[unused{number}]"): number for number in range(1100)})


def save_owlv2(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = cut_tokenizer(["photo", "boy", "animal"], first=64)
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 96, "patch_size": 16}  # fmt: skip
    Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)).save_pretrained(
        folder
    )
    written = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(written["vocab"]))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in written["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]))
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "!",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    named = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def save_sam3(folder: Path, seed: int = 0) -> Path:
    """Save the detector with a video tracker beside it, in one file, as the release has them."""
    torch.manual_seed(seed)
    tokenizer = cut_tokenizer(["boy", "animal", "sea", "monster"], first=64)
    text = {"model_type": "clip_text_model", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16, "projection_dim": 16,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}  # fmt: skip
    vit = {"model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
           "num_attention_heads": 2, "image_size": SIDE, "patch_size": 16, "window_size": 4,
           "pretrain_image_size": SIDE // 2}  # fmt: skip
    vision = {"model_type": "sam3_vision_model", "backbone_config": vit, "fpn_hidden_size": WIDTH,
              "backbone_feature_sizes": [[SIDE // step] * 2 for step in (4, 8, 16)]}  # fmt: skip
    part = {"hidden_size": WIDTH, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    detector = {"model_type": "sam3", "vision_config": vision, "text_config": text, "geometry_encoder_config": part,
                "detr_encoder_config": part, "detr_decoder_config": {**part, "num_queries": 20},
                "mask_decoder_config": {"hidden_size": WIDTH, "num_attention_heads": 2}}  # fmt: skip
    config = Sam3VideoConfig(detector_config=detector)
    config.tracker_config.memory_attention_num_layers = 1
    config.image_size = SIDE
    Sam3VideoModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
