"""OWLv2: boxes for any words, one query each. Minderer et al., 2023, arXiv 2306.09683."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.utils.logging
from transformers import AutoTokenizer, Owlv2ForObjectDetection

from models.segment import Image
from models.segment.detect import DetectedBox
from models.segment.detect.reading import checked_words, read_boxes
from models.segment.pixels import CLIP, to_pixels

THRESHOLD = 0.2
GREY = 128  # fills the picture up to a square below and on the right, as in the authors' code
PROMPT = "a photo of {}"  # the shortest of the prompts that the network was evaluated with


class Owlv2:
    """The `owlv2` detector.

    Raises:
        ValueError: there are no words.
    """

    def __init__(self, folder: Path, words: Sequence[str], threshold: float = THRESHOLD) -> None:
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._words = checked_words(words)
        self._threshold = threshold
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        loaded: Any = Owlv2ForObjectDetection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = loaded.eval().to(self._device)
        self._side = int(loaded.config.vision_config.image_size)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        longest = int(loaded.config.text_config.max_position_embeddings)
        asked = tokenizer(
            [PROMPT.format(word) for word in self._words],
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        self._asked = {key: asked[key].to(self._device) for key in ("input_ids", "attention_mask")}

    @torch.inference_mode()
    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what is in an `(H, W, 3)` RGB uint8 frame, the surest first."""
        height, width = image.shape[:2]
        square = np.full((max(height, width),) * 2 + (3,), GREY, np.uint8)
        square[:height, :width] = image
        pixels = torch.from_numpy(to_pixels(square, (self._side, self._side), CLIP))
        found = self._model(pixel_values=pixels[None].to(self._device), **self._asked)
        scores = found.logits[0].sigmoid().float().cpu().numpy()  # (patches, words)
        boxes = found.pred_boxes[0].float().cpu().numpy() * np.float32(max(height, width))
        return read_boxes(boxes, scores, self._words, (height, width), self._threshold)
