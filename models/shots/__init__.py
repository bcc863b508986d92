"""Films, cuts, and what a frame is worth."""
