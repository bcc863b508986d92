"""The search of training settings: its space, its study, and what it came to."""
