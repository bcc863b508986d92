"""The pixels of captions: a crop of a frame or plate, scaled, and what may be learnt of it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import AssembleDatasetConfig
from data_contracts.records import Caption, Frame, Layer, Plate
from models.buckets import Size
from models.framing import Box, scaled_size, within_face
from models.inpaint.provenance import NOT_TRUE
from models.pictures import Picture, read_grey, read_rgb

WHITE = 255
PLAIN = {"grey": 128, "white": WHITE}
HARDLY_SEEN = 100
"""Of a layer's mask, up to 255: what is more is somebody."""
SEAM = 0.02
"""How far people reach beyond their layers, in the frame's height: soft edges, and what shadows next to them."""
read_frame = lru_cache(maxsize=1)(read_rgb)  # its crops follow one another


@dataclass(frozen=True)
class Sources:
    """Where the pixels of captions are found.

    inhabitants: layers of the people in a place, where captions show it inhabited.
    """

    frames: Dataset[Frame]
    pictures: Dataset[Layer] | Dataset[Plate]
    inhabitants: Dataset[Layer] | None = None

    @cached_property
    def people(self) -> dict[str, Dataset[Layer]]:
        """The inhabitants by the frame that they stand in."""
        return {} if self.inhabitants is None else self.inhabitants.groups("frame_id")

    def of(self, caption: Caption) -> Layer | Plate:
        """Return what a caption is of."""
        if caption.role == "inhabited" and self.inhabitants is not None:
            return self.inhabitants.by_id[caption.source_id]
        return self.pictures.by_id[caption.source_id]


def cut(caption: Caption, sources: Sources, config: AssembleDatasetConfig) -> tuple[Picture, Picture]:
    """Cut a caption's crop out of its frame or plate, scaled: `(H, W, 3)`, and what may be learnt of it `(H, W)`."""
    source = sources.of(caption)
    if isinstance(source, Plate):
        picture = read_rgb(sources.pictures.path(source.image))
        doubtful = np.isin(read_grey(sources.pictures.path(source.provenance)), NOT_TRUE)
        mask: Picture = np.where(doubtful, 0, WHITE).astype(np.uint8)
    else:
        picture = read_frame(sources.frames.path(sources.frames.by_id[source.frame_id].image))
        inhabited = caption.role == "inhabited"
        mask = scenery_of(source.frame_id, sources) if inhabited else read_grey(sources.pictures.path(source.mask))
    size = scaled_size(caption.box, config.resolution)
    image, weight = scaled(picture, caption.box, size), scaled(mask, caption.box, size)
    if config.around != "kept" and config.type != "background":
        share = weight[..., None] / WHITE
        image = np.asarray((image * share + PLAIN[config.around] * (1 - share)).round(), np.uint8)
    if caption.face is not None:
        weight = within_face(weight, caption.face, caption.box)
    return image, weight


@lru_cache(maxsize=1)  # as frames are read: body and face of everybody in a frame follow one another
def scenery_of(frame_id: str, sources: Sources) -> Picture:
    """Return what of a frame is nobody's, `(H, W)`: 255, and 0 where people are and close to them."""
    people = sources.people[frame_id]
    seen = np.maximum.reduce([read_grey(people.path(each.mask)) for each in people])
    reach = 1 + 2 * round(SEAM * seen.shape[0])
    somebody = np.where(seen > HARDLY_SEEN, WHITE, 0).astype(np.uint8)
    grown = cv2.dilate(somebody, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return np.where(grown, 0, WHITE).astype(np.uint8)


def scaled(picture: Picture, box: Box, size: Size) -> Picture:
    """Return what is in a box, scaled to width and height `size`."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    crop = picture[y0:y1, x0:x1]
    method = cv2.INTER_AREA if crop.shape[0] >= size[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, size, interpolation=method), np.uint8)
