"""Seeds by purpose: what is random depends on a name and a number, never on a generator's carried state."""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, number: int = 0) -> int:
    """Return a seed below 2**63 for one purpose, unrelated to those of all others."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}:{number}".encode()).digest()[:8], "little") >> 1


def seeded_generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Return a generator on the CPU that starts from `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, number))
