"""SAM 2's network as transformers has it, without its processors, which need torchvision.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024, arXiv 2408.00714.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Sam2VideoModel

from models.device import gpu_or_cpu, half_precision
from models.normalise import IMAGENET
from models.segment import Image
from models.segment.pixels import to_pixels
from models.transformers_network import load_network

Features = dict[str, list[torch.Tensor]]
POSITIONS = (
    "prompt_encoder.shared_embedding.positional_embedding",
    "shared_image_embedding.positional_embedding",
)
"""One tensor under two names. Older releases of transformers tied and saved it once; since they no longer tie it, a
file with one of the two would leave the other to chance."""


@dataclass(frozen=True)
class PointMasks:
    """What n points of one frame mean: each three masks, the whole, a part, a part of it.

    Attributes:
        logits: `(3n, h, w)` float32, above 0 inside, at a quarter of the network's own size.
        quality: `(3n,)` float32, the IoU that the network expects of each mask.
    """

    logits: NDArray[np.float32]
    quality: NDArray[np.float32]


class Sam2Network:
    """The network in `folder`: float32 on a CPU, half precision on a GPU. The same frames give the same numbers.

    device: "cpu" or "cuda"; None for the GPU where there is one.

    Raises:
        MissingWeights: the file lacks tensors of the network.
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        self.device = torch.device(device) if device else gpu_or_cpu()
        self.dtype = half_precision(self.device)
        self.model = load_network(Sam2VideoModel, folder, dtype=self.dtype, device=self.device, twins=[POSITIONS])
        self.side = int(self.model.config.image_size)
        self._positions: list[torch.Tensor] | None = None

    def pixels(self, frame: Image) -> torch.Tensor:
        """Return `(3, side, side)` of an `(H, W, 3)` RGB uint8 frame, squeezed to the network's square."""
        pixels = torch.from_numpy(to_pixels(frame, (self.side, self.side), IMAGENET))
        return pixels.to(self.device, self.dtype)

    @torch.inference_mode()
    def features(self, frame: Image) -> Features:
        """Return what the image encoder makes of a frame, as a session's cache wants it.

        Of the position embeddings, the same for all frames, only the coarsest are ever read: they are kept once.
        """
        encoded = self.model.get_image_features(self.pixels(frame)[None])
        if self._positions is None:
            self._positions = [encoded.fpn_position_encoding[-1].clone()]
        return {"vision_feats": list(encoded.fpn_hidden_states), "vision_pos_embeds": self._positions}

    def to_square(self, points: NDArray[np.float64], size: tuple[int, int]) -> torch.Tensor:
        """Return points `(..., 2)` x, y in pixels of a frame of `size` (height, width) in the network's square."""
        scale = np.array([self.side / size[1], self.side / size[0]])
        return torch.from_numpy((points * scale).astype(np.float32)).to(self.device)

    @torch.inference_mode()
    def embed(self, frame: Image) -> list[torch.Tensor]:
        """Return a frame's image embeddings, fine to coarse, for `masks_at`."""
        return list(self.model.get_image_embeddings(self.pixels(frame)[None]))

    @torch.inference_mode()
    def masks_at(self, embedded: list[torch.Tensor], points: torch.Tensor) -> PointMasks:
        """Return the masks of n `points` `(n, 2)`, in the network's square, of a frame embedded by `embed`."""
        labels = torch.ones((1, len(points), 1), dtype=torch.int32, device=self.device)
        sparse, dense = self.model.prompt_encoder(
            input_points=points[None, :, None], input_labels=labels, input_boxes=None, input_masks=None
        )
        logits, quality, _, _ = self.model.mask_decoder(
            image_embeddings=embedded[-1],
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=embedded[:-1],
        )
        return PointMasks(logits[0].flatten(0, 1).float().cpu().numpy(), quality[0].flatten().float().cpu().numpy())
