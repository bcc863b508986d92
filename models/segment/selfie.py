"""Selfie segmentation (MediaPipe, 2021), made to work on small animated characters by looking more than once.

The network sees 256 px and expects one person who fills them. A first look (the whole frame by both models, and square
tiles) only proposes; each proposal is then cut out and looked at again, twice over, in four variants of the crop. What
the network took for a person from afar but not from near (rocks, tables, parasols) dies there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.segment import SELFIE_SQUARE, SELFIE_WIDE, Image, TrackMask
from models.segment.colours import ColourModel, sharpen
from models.segment.ground import ground_evidence
from models.segment.instances import Detection, cut_instances
from models.segment.touching import split_touching
from models.segment.tracks import Tracker
from models.weights import PackagedFile

Probability = NDArray[np.float32]
Box = tuple[int, int, int, int]

PROPOSAL = 0.35  # mean probability of the first look
MIN_SHARE = 0.003  # of the frame: 440 pixels at 512x288
MIN_SCORE = 0.5
CROP_PADS = (1.05, 1.25)  # of the longer side of the box; measured: tighter is better down to this
LOOKS = 2
WINDOW = 64  # frames held at once: 21 s of film at three a second


class SelfieNetwork:
    """One TFLite model: a picture of any size in, the probability of a person at each pixel out."""

    def __init__(self, file: PackagedFile) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        self._interpreter: Any = Interpreter(str(file.path()), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, image: Image) -> Probability:
        """Return (H, W) float32 in 0..1 for an image (H, W, 3) RGB uint8."""
        rows, columns = self._input["shape"][1:3]
        way = cv2.INTER_AREA if image.shape[0] > rows else cv2.INTER_LINEAR
        batch = cv2.resize(image, (columns, rows), interpolation=way).astype(np.float32)[None] / 255
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._output)[0, ..., 0]
        return np.asarray(cv2.resize(found, (image.shape[1], image.shape[0])), np.float32)


class SelfieSegmenter:
    """The `selfie` backend: propose, look again, sharpen by the shot's colours and scenery, split, link."""

    def __init__(self) -> None:
        self._square = SelfieNetwork(SELFIE_SQUARE)
        self._wide = SelfieNetwork(SELFIE_WIDE)

    def segment_shot(self, frames: Sequence[Image]) -> Iterator[TrackMask]:
        """Yield the masks of one shot (see `Segmenter`); at most `WINDOW` frames' masks are held at once."""
        tracker = Tracker(len(frames))
        for start in range(0, len(frames), WINDOW):
            window = [frames[index] for index in range(start, min(start + WINDOW, len(frames)))]
            found = [self.detect(frame) for frame in window]
            if not any(found):
                continue
            joined = [_joined(detections, frame.shape[:2]) for detections, frame in zip(found, window, strict=True)]
            alphas = _sharpened(window, joined)
            instances = [cut_instances(*each) for each in zip(window, alphas, found, strict=True)]
            yield from tracker.link(start, split_touching(instances))

    def detect(self, frame: Image) -> list[Detection]:
        """Return what looks like a person from afar and from near in one frame, the surest first."""
        least = MIN_SHARE * frame.shape[0] * frame.shape[1]
        found: list[Detection] = []
        for seed, box in _components(self._first_look(frame) > PROPOSAL, least):
            detection = self._look_again(frame, seed, box)
            if detection is not None and detection.core.sum() >= least and detection.score >= MIN_SCORE:
                found.append(detection)
        found.sort(key=lambda detection: -detection.score)
        kept: list[Detection] = []
        for detection in found:
            if not any(_is_inside(detection.core, other.core) for other in kept):
                kept.append(detection)
        return kept

    def _first_look(self, frame: Image) -> Probability:
        """Return the mean of both models on the whole frame and of the square one on three square tiles."""
        height, width = frame.shape[:2]
        tiled, seen = np.zeros((2, height, width), np.float32)
        side = min(height, width)
        for x in np.linspace(0, width - side, 3).astype(int):
            tiled[:side, x : x + side] += self._square(np.ascontiguousarray(frame[:side, x : x + side]))
            seen[:side, x : x + side] += 1
        tiled /= np.maximum(seen, 1)
        return np.asarray((tiled + self._wide(frame) + self._square(frame)) / 3, np.float32)

    def _look_again(self, frame: Image, seed: NDArray[np.bool_], box: Box) -> Detection | None:
        for _ in range(LOOKS):
            looks = [self._crop_look(frame, box, pad, flip) for pad in CROP_PADS for flip in (False, True)]
            probability = np.mean(looks, axis=0)
            parts = [part for part in _components(probability > 0.5, 1) if (part[0] & seed).any()]  # noqa: PLR2004
            if not parts:
                return None
            core, box = max(parts, key=lambda part: int((part[0] & seed).sum()))
        stack = np.stack(looks)[:, core] > 0.5  # noqa: PLR2004
        stability = stack.all(axis=0).sum() / max(1, stack.any(axis=0).sum())
        return Detection(probability.astype(np.float32), core, float(stability * probability[core].mean()))

    def _crop_look(self, frame: Image, box: Box, pad: float, flip: bool) -> Probability:
        """Return the probability over the whole frame from one square crop around `box`, 0 outside the crop."""
        height, width = frame.shape[:2]
        x0, y0, x1, y1 = box
        half = max(x1 - x0, y1 - y0) * pad / 2
        scale = 128 / half
        mirror = -1 if flip else 1
        matrix = np.array(
            [[mirror * scale, 0, 128 - mirror * scale * (x0 + x1) / 2], [0, scale, 128 - scale * (y0 + y1) / 2]]
        )
        crop = np.asarray(cv2.warpAffine(frame, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(self._square(crop), matrix, (width, height), flags=back), np.float32)


def _sharpened(frames: Sequence[Image], network: Sequence[Probability]) -> Iterator[Probability]:
    """Yield the probabilities (H, W) of a shot's frames by all that the shot tells: its colours, then its scenery."""
    colours = ColourModel.of_shot(frames, network)
    grounds = ground_evidence(frames, [seen > PROPOSAL for seen in network])
    for frame, seen, ground in zip(frames, network, grounds, strict=True):
        yield sharpen(frame, seen, colours, ground)


def _joined(detections: Sequence[Detection], size: tuple[int, int]) -> Probability:
    """Return the highest probability (H, W) of all detections near their own core, 0 elsewhere."""
    joined = np.zeros(size, np.float32)
    reach = np.ones((2 * (size[0] // 72) + 1,) * 2, np.uint8)
    for detection in detections:
        near = cv2.dilate(detection.core.astype(np.uint8), reach)
        joined = np.maximum(joined, detection.probability * near)
    return joined


def _components(mask: NDArray[np.bool_], least: float) -> list[tuple[NDArray[np.bool_], Box]]:
    """Return the connected parts of `mask` of at least `least` pixels, each with its box x0, y0, x1, y1."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    parts = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        if area >= least:
            parts.append((labels == label, (x, y, x + width - 1, y + height - 1)))
    return parts


def _is_inside(core: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    return bool((core & other).sum() > 0.5 * core.sum())
