"""The evaluation suite: the same prompts for every LoRA of a type, so that LoRAs, and versions of one, can be compared.

- `character.yaml`, `background.yaml`, `pose.yaml`, `expression.yaml`: nine categories of five prompts each
- `prompts`: those prompts with a LoRA's own words in them
- `thoroughness`: how many of them are drawn, from how many seeds, at which strengths
- `summary`: what the LoRA changes, by category and strength
- `words`: that summary in words
"""
