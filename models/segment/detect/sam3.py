"""SAM 3: boxes for any noun phrase, all instances of it. Carion et al., 2025, arXiv 2511.16719."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, Sam3Model

from models.device import gpu_or_cpu, half_precision
from models.normalise import HALVES
from models.segment import Image
from models.segment.detect import DetectedBox
from models.segment.detect.reading import checked_words, read_boxes
from models.segment.pixels import to_pixels
from models.transformers_network import load_network

THRESHOLD = 0.5  # the authors' own, of a query's score times the score that the phrase is in the picture at all


class Sam3:
    """The `sam3` detector: each word is asked for by itself; a frame is encoded once for all of them.

    Of the release's file, which holds a video tracker as well, only the detector is read. float32 on a CPU, half
    precision on a GPU.

    Raises:
        MissingWeights: the file lacks tensors of the network.
        ValueError: there are no words, or one is longer than the network reads.
    """

    def __init__(self, folder: Path, words: Sequence[str], threshold: float = THRESHOLD) -> None:
        self._words = checked_words(words)
        self._threshold = threshold
        device = gpu_or_cpu()
        self._model = load_network(Sam3Model, folder, dtype=half_precision(device), device=device)
        self._side = int(self._model.config.image_size)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._asked = [self._read(tokenizer, word) for word in self._words]

    @torch.inference_mode()
    def detect(self, image: Image) -> list[DetectedBox]:
        """Return what is in an `(H, W, 3)` RGB uint8 frame, the surest first."""
        height, width = image.shape[:2]
        pixels = torch.from_numpy(to_pixels(image, (self._side, self._side), HALVES))[None]
        seen = self._model.get_vision_features(pixels.to(self._model.device, self._model.dtype))
        boxes, scores = [], []
        for column, asked in enumerate(self._asked):
            found = self._model(vision_embeds=seen, **asked)
            likely = found.pred_logits[0].sigmoid() * found.presence_logits[0].sigmoid()
            boxes.append(_centred(found.pred_boxes[0].float().cpu().numpy()))
            scores.append(np.zeros((len(likely), len(self._asked)), np.float32))
            scores[-1][:, column] = likely.float().cpu().numpy()
        scale = np.array([width, height, width, height], np.float32)
        every = np.concatenate(boxes) * scale
        return read_boxes(every, np.concatenate(scores), self._words, (height, width), self._threshold)

    @torch.inference_mode()
    def _read(self, tokenizer: Any, word: str) -> dict[str, Any]:  # noqa: ANN401  transformers' classes carry no types
        """Return what the text encoder makes of a word, and which of its tokens are padding."""
        longest = int(self._model.config.text_config.max_position_embeddings)
        tokens = tokenizer(word, padding="max_length", max_length=longest, return_tensors="pt").to(self._model.device)
        if (count := tokens["input_ids"].shape[1]) > longest:
            message = f"segment_layers.words has {word!r}, {count} tokens; SAM 3 reads {longest}: say it shorter"
            raise ValueError(message)
        asked = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        return {"text_embeds": self._model.get_text_features(**asked), "attention_mask": asked["attention_mask"]}


def _centred(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes `(n, 4)` of x0, y0, x1, y1 as centre x, centre y, width, height."""
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)
