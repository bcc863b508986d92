"""What vision transformers share: loading from a folder, pictures as inputs, batches, unit rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image as PillowImage
from PIL import ImageOps

from models.embed import Embeddings, Image, unit_rows
from models.weights import MissingWeights

BATCH = 32
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Input:
    """What a network takes: squares of `side` pixels; RGB 0..1 less `mean`, over `deviation`."""

    side: int
    mean: Triple
    deviation: Triple


def load_network(kind: Any, folder: Path) -> Any:  # noqa: ANN401  transformers' classes carry no types
    """Return the network of transformers' class `kind` from a folder of `config.json` and `model.safetensors`.

    It is in half precision where there is a GPU. Of a file with more networks only this one's tensors are read.

    Raises:
        MissingWeights: the file lacks tensors of the network; transformers itself would make them up.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.is_available()
    network, found = kind.from_pretrained(
        folder,
        dtype=torch.float16 if cuda else torch.float32,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        message = (
            f"model.safetensors in {folder.name} lacks {len(missing)} tensors of {kind.__name__}, such as "
            f"{missing[0]}: it is another model or damaged; delete the folder and fetch it again"
        )
        raise MissingWeights(message)
    return network.eval().to("cuda" if cuda else "cpu")


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
    colour = tuple(round(255 * value) for value in wanted.mean)
    size = (wanted.side, wanted.side)
    square = ImageOps.pad(PillowImage.fromarray(image), size, PillowImage.Resampling.BICUBIC, color=colour)
    scaled = np.asarray(square, dtype=np.float32) / 255.0
    normal = (scaled - np.array(wanted.mean, np.float32)) / np.array(wanted.deviation, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
