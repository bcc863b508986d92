"""What pairs of LoRA files share: all of a copy, little of a stranger, nothing said of one that changes nothing."""

from pathlib import Path

import pytest
import torch

from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya
from models.diffusion.shared_directions import shared_directions

LAYER = "mid_block_attentions_0_transformer_blocks_0_attn1_to_v"


def file_in(folder: Path, name: str, seed: int, strength: float = 1.0) -> tuple[str, Path]:
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(2, 48, generator=generator), strength * torch.randn(48, 2, generator=generator)
    save_kohya(path := folder / f"{name}.safetensors", LoraWeights({LAYER: LoraModule(down, up, 2.0)}, {}, {}))
    return "sd15", path


def test_a_stronger_copy_shares_all_and_a_stranger_little(tmp_path):
    files = {"a": file_in(tmp_path, "a", 1), "b": file_in(tmp_path, "b", 1, 3.0), "c": file_in(tmp_path, "c", 2)}
    shared = shared_directions(files)
    assert set(shared) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert shared["a", "b"] == pytest.approx(1, abs=1e-4)
    assert shared["a", "c"] < 0.3


def test_one_that_changes_nothing_is_left_out(tmp_path):
    files = {"a": file_in(tmp_path, "a", 1), "idle": file_in(tmp_path, "idle", 2, 0.0), "c": file_in(tmp_path, "c", 3)}
    assert set(shared_directions(files)) == {("a", "c")}
    assert shared_directions({"a": files["a"]}) == {}
