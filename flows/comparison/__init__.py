"""Two runs side by side: scores paired by LoRAs, prompt and seed, and what differs between them."""
