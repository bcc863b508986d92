"""Which pictures a LoRA learns from: no near-duplicates, the sharpest and most different, and what they lack."""
