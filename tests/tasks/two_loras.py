"""Two LoRAs of random weights for the random base, a character's and a place's, for the tests of stacks."""

from pathlib import Path

import torch

from data_contracts.dataset import Dataset
from data_contracts.results import LoraFile
from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya

SUBJECTS = {"luca": "character", "portorosso": "background"}
SAMPLING = {"steps": 2, "size": 64, "batch": 2, "guidance": 4.0, "judge": "world-probe"}


def loras_in(folder: Path) -> tuple[Dataset[LoraFile], ...]:
    """LoRAs that change the random base's pictures, each another layer."""
    made = []
    for number, (name, kind) in enumerate(SUBJECTS.items()):
        (files := folder / name / "files").mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(number)
        down, up = (4 * torch.randn(shape, generator=generator) for shape in ((2, 48), (48, 2)))
        layer = f"mid_block_attentions_0_transformer_blocks_0_attn1_to_{'vq'[number]}"
        if not (file := files / f"{name}.safetensors").exists():
            save_kohya(file, LoraWeights({layer: LoraModule(down, up, 2.0)}, {}, {}))
        row = LoraFile(
            id=name, name=name, type=kind, subject=name, trigger=name, family="sd15", weights=file.name,
            loss_log="none.jsonl", samples=(), sample_steps=(), steps=1, final_loss=0.1, dataset_digest="0" * 64,
            shots=("film:s0001",),
        )  # fmt: skip
        made.append(Dataset(LoraFile, folder / name, [row]))
    return tuple(made)
