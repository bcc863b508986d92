"""Diffusion models: one module a family, and what all need: LoRA files, stacks of them, the loss, and generation."""

FAMILIES = {"sd15": "models.diffusion.sd15"}
