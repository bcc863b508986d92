"""What share of each other's change two LoRA files could write, of all pairs of several."""

from collections.abc import Mapping
from pathlib import Path

from data_contracts.records import BaseFamily


def shared_directions(files: Mapping[str, tuple[BaseFamily, Path]]) -> dict[tuple[str, str], float]:
    """Return for each pair of LoRAs the lesser of the two shares, 0..1; nothing of a LoRA that changes nothing.

    Args:
        files: by name: the family of the base model, and the weights.

    Raises:
        InputFault: a file is no LoRA of its family.
    """
    if len(files) < 2:  # noqa: PLR2004
        return {}
    from models.diffusion.key_formats import KEY_FORMATS  # noqa: PLC0415  torch is slow to import
    from models.diffusion.lora_file import load_kohya  # noqa: PLC0415
    from models.diffusion.subspaces import NETWORKS, overlaps  # noqa: PLC0415

    loras = {name: load_kohya(path, KEY_FORMATS[family]) for name, (family, path) in files.items()}
    trained = {
        name: weights
        for name, weights in loras.items()
        if any(bool(module.up.any()) for network in NETWORKS for module in weights.of(network).values())
    }
    return {two: min(each.whole.writes, each.whole.back_writes) for two, each in overlaps(trained).items()}
