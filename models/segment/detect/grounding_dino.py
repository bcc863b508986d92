"""Grounding DINO: boxes for any words. Liu et al., 2023, arXiv 2303.05499."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, GroundingDinoForObjectDetection

from models.normalise import IMAGENET
from models.segment import Image
from models.segment.detect import DetectedBox
from models.segment.detect.reading import checked_words, read_boxes
from models.segment.pixels import fit, to_pixels
from models.transformers_network import load_network

THRESHOLD = 0.3  # of a word's likeliest token; the authors' demo uses 0.35, on photographs
SHORTEST, LONGEST = 800, 1333  # pixels of the sides, as trained


class GroundingDino:
    """The `grounding-dino` detector: all words in one prompt, a box's word by the prompt's tokens that it answers to.

    Raises:
        MissingWeights: the file lacks tensors of the network.
        ValueError: the words are none, or more than the network reads.
    """

    def __init__(self, folder: Path, words: Sequence[str], threshold: float = THRESHOLD) -> None:
        self._words = checked_words(words)
        self._threshold = threshold
        self._model = load_network(GroundingDinoForObjectDetection, folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        asked = tokenizer(". ".join(self._words) + ".", return_offsets_mapping=True, return_tensors="pt")
        self._tokens = _tokens_of_words(asked.pop("offset_mapping")[0].tolist(), self._words)
        self._asked = {key: value.to(self._model.device) for key, value in asked.items()}
        if (count := self._asked["input_ids"].shape[1]) > self._model.config.max_text_len:
            limit = f"Grounding DINO reads {self._model.config.max_text_len}"
            message = f"segment_layers.words make {count} tokens, {limit}: name fewer things"
            raise ValueError(message)

    @torch.inference_mode()
    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what is in an `(H, W, 3)` RGB uint8 frame, the surest first."""
        height, width = image.shape[:2]
        pixels = torch.from_numpy(to_pixels(image, fit((height, width), SHORTEST, LONGEST), IMAGENET))
        found = self._model(pixel_values=pixels[None].to(self._model.device), **self._asked)
        likely = found.logits[0].sigmoid().float().cpu().numpy()  # (queries, tokens)
        scores = np.stack([likely[:, tokens].max(axis=1) for tokens in self._tokens], axis=1)
        scale = np.array([width, height, width, height], np.float32)
        boxes: NDArray[np.float32] = found.pred_boxes[0].float().cpu().numpy() * scale
        return read_boxes(boxes, scores, self._words, (height, width), self._threshold)


def _tokens_of_words(offsets: Sequence[tuple[int, int]], words: Sequence[str]) -> list[list[int]]:
    """Return which tokens of the prompt each word became, by the characters `offsets` from which tokens were made."""
    tokens, start = [], 0
    for word in words:
        end = start + len(word)
        tokens.append([number for number, (low, high) in enumerate(offsets) if start <= low < high <= end])
        start = end + len(". ")
    return tokens
