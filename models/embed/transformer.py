"""What vision transformers share: loading from a folder, pictures as inputs, batches, unit rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from PIL import ImageOps

from models.device import gpu_or_cpu
from models.embed import Embeddings, Image, unit_rows
from models.normalise import ColourScale, normalise_picture
from models.transformers_network import load_network

BATCH = 32


@dataclass(frozen=True)
class Input:
    """What a network takes: squares of `side` pixels in the colours of `scale`."""

    side: int
    scale: ColourScale


def load_embedder(kind: Any, folder: Path) -> Any:  # noqa: ANN401  transformers' classes carry no types
    """Return the network of transformers' class `kind` from `folder`, in half precision where there is a GPU.

    Raises:
        MissingWeights: the file lacks tensors of the network.
    """
    device = gpu_or_cpu()
    half = device.type == "cuda"
    return load_network(kind, folder, dtype=torch.float16 if half else torch.float32, device=device)


def embed_pictures(
    network: Any,  # noqa: ANN401
    images: Sequence[Image],
    wanted: Input,
    feature: Callable[[Any], torch.Tensor],
) -> Embeddings:
    """Return `(n, d)` float32 unit rows: `feature` of what the network answers to each of n pictures, n at least 1."""
    rows = []
    with torch.inference_mode():
        for batch in batches(images, wanted):
            pixels = torch.from_numpy(batch).to(network.device, network.dtype)  # (batch, 3, side, side)
            rows.append(feature(network(pixel_values=pixels)).float().cpu().numpy())
    return unit_rows(np.concatenate(rows))


def batches(images: Sequence[Image], wanted: Input) -> Iterator[Embeddings]:
    """Yield the pictures as inputs `(<= BATCH, 3, side, side)` float32."""
    for start in range(0, len(images), BATCH):
        yield np.stack([to_input(image, wanted) for image in images[start : start + BATCH]])


def to_input(image: Image, wanted: Input) -> Embeddings:
    """Return `(3, side, side)` float32 of an `(H, W, 3)` RGB uint8 picture.

    The whole picture is seen, padded to a square: a centre crop, as these networks were evaluated with, would cut
    the head and the feet off a standing character. The padding is the network's mean colour, which is zero to it.
    """
    colour = tuple(round(255 * value) for value in wanted.scale.mean)
    size = (wanted.side, wanted.side)
    square = ImageOps.pad(PillowImage.fromarray(image), size, PillowImage.Resampling.BICUBIC, color=colour)
    return normalise_picture(np.asarray(square), wanted.scale)
