"""OWLv2: boxes for any words, one query each. Minderer et al., 2023, arXiv 2306.09683."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, Owlv2ForObjectDetection

from models.normalise import CLIP
from models.segment import Image
from models.segment.detect import DetectedBox
from models.segment.detect.reading import checked_words, read_boxes
from models.segment.pixels import to_pixels
from models.transformers_network import load_network

THRESHOLD = 0.2
GREY = 128  # fills the picture up to a square below and on the right, as in the authors' code
PROMPT = "a photo of {}"  # the shortest of the prompts that the network was evaluated with


class Owlv2:
    """The `owlv2` detector.

    Raises:
        MissingWeights: the file lacks tensors of the network.
        ValueError: there are no words.
    """

    def __init__(self, folder: Path, words: Sequence[str], threshold: float = THRESHOLD) -> None:
        self._words = checked_words(words)
        self._threshold = threshold
        self._model = load_network(Owlv2ForObjectDetection, folder)
        self._side = int(self._model.config.vision_config.image_size)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        longest = int(self._model.config.text_config.max_position_embeddings)
        asked = tokenizer(
            [PROMPT.format(word) for word in self._words],
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        self._asked = {key: asked[key].to(self._model.device) for key in ("input_ids", "attention_mask")}

    @torch.inference_mode()
    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what is in an `(H, W, 3)` RGB uint8 frame, the surest first."""
        height, width = image.shape[:2]
        square = np.full((max(height, width),) * 2 + (3,), GREY, np.uint8)
        square[:height, :width] = image
        pixels = torch.from_numpy(to_pixels(square, (self._side, self._side), CLIP))
        found = self._model(pixel_values=pixels[None].to(self._model.device), **self._asked)
        scores = found.logits[0].sigmoid().float().cpu().numpy()  # (patches, words)
        boxes = found.pred_boxes[0].float().cpu().numpy() * np.float32(max(height, width))
        return read_boxes(boxes, scores, self._words, (height, width), self._threshold)
