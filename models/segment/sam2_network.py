"""SAM 2's network as transformers has it, without its processors, which need torchvision.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024, arXiv 2408.00714.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.utils.logging
from numpy.typing import NDArray
from transformers import Sam2VideoModel

from models.segment import Image
from models.segment.pixels import IMAGENET, to_pixels

Features = dict[str, list[torch.Tensor]]


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
    """

    def __init__(self, folder: Path, device: str | None = None) -> None:
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = _precision(self.device)
        loaded: Any = Sam2VideoModel.from_pretrained(
            folder, dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        self.model = loaded.eval().to(self.device)
        self.side = int(loaded.config.image_size)
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


def _precision(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
