"""Track-wise segmentation against automatic masks of every frame, by one network: seconds and frames a second.

SAM 2.1 tiny's own architecture with random weights, which cost what trained ones do, on frames of the sample film; the
detector is the truth, so that both ways are timed without one. On a GPU at its full 1024 px, on a CPU at 512 px.
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from models.segment import Image
from models.segment.boxes import Box
from models.segment.detect.automatic import POINTS_PER_SIDE, AutomaticMasks
from models.segment.layering import Sighting, layer_frame
from models.segment.propagation import Propagation
from models.segment.sam2 import Sam2Shot
from models.segment.sam2_network import Sam2Network
from tests.models.sample_film import frames, rows

SHOT, FRAMES = 4, 6
GPU = torch.cuda.is_available()
SIDE = 1024 if GPU else 512


def architecture(side: int) -> Sam2VideoConfig:
    """Return SAM 2.1 tiny's configuration for squares of `side` pixels."""
    finest = side // 4
    backbone = {"model_type": "sam2_hiera_det_model", "image_size": [side, side]}
    sizes = [[finest // step] * 2 for step in (1, 2, 4)]
    return Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_feature_sizes": sizes,
        },
        prompt_encoder_config={"image_size": side},
        image_size=side,
        memory_attention_rope_feat_sizes=sizes[-1],
    )


def true_boxes() -> dict[int, list[Box]]:
    """Return the boxes of the shot's characters by position of the frame."""
    times = sorted({row.time_s for row in rows(SHOT)})
    return {index: [row.box for row in rows(SHOT) if row.time_s == moment] for index, moment in enumerate(times)}


def track_wise(network: Sam2Network, pictures: list[Image]) -> tuple[int, float]:
    """Return how many objects are followed through the shot, and the seconds that it took."""
    boxes, size, started = true_boxes(), pictures[0].shape[:2], time.perf_counter()
    shot = OneMaskAnObject(network, pictures)
    for index, seen in Propagation(shot, boxes.__getitem__, len(pictures), size).run():
        layer_frame(index, seen, size)
    return shot.started, time.perf_counter() - started


class OneMaskAnObject(Sam2Shot):
    """The shot with objects that never look alike: random weights draw the same mask for everything."""

    started = 0

    def start(self, index, box):
        followed, _ = super().start(index, box)
        self.started += 1
        return Apart(followed, box, self.frames[0].shape[:2]), Apart.mask(box, self.frames[0].shape[:2])


class Apart:
    """A followed object that pays for each look and answers with its box."""

    def __init__(self, followed, box, size):
        self.followed, self.answer = followed, self.mask(box, size)

    def look(self, index, *, reverse):
        self.followed.look(index, reverse=reverse)
        return self.answer

    @staticmethod
    def mask(box, size):
        logits = np.full((SIDE // 4, SIDE // 4), -8, np.float32)
        x0, y0, x1, y1 = (np.array(box) * SIDE / 4 / np.array([size[1], size[0]] * 2)).astype(int)
        logits[y0:y1, x0:x1] = 8
        return Sighting(logits, 1.0)


@pytest.mark.timeout(3600)
def test_tracks_against_automatic_masks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    Sam2VideoModel(architecture(SIDE)).save_pretrained(tmp_path)
    network = Sam2Network(tmp_path)
    pictures = list(frames(SHOT).values())[:FRAMES]
    network.features(pictures[0])
    objects, tracked = track_wise(network, pictures)
    started = time.perf_counter()
    for picture in pictures:
        AutomaticMasks(network).masks(picture)
    automatic = time.perf_counter() - started
    where = torch.cuda.get_device_name() if GPU else f"CPU, {torch.get_num_threads()} threads"
    print(f"\nSAM 2.1 tiny's architecture, random weights, {SIDE} px, {len(pictures)} frames, {where}")
    print(f"  tracks, {objects} objects, both directions    {tracked:7.1f} s  {len(pictures) / tracked:6.3f} frames/s")
    points = f"automatic masks, {POINTS_PER_SIDE}x{POINTS_PER_SIDE} points a frame"
    print(f"  {points}    {automatic:7.1f} s  {len(pictures) / automatic:6.3f} frames/s")
    print(f"  tracks are {automatic / tracked:.1f} times as fast")
    assert objects == len(true_boxes()[0])
