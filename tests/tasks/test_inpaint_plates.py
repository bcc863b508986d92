"""The stage's own decisions: what is refused, with the number that decided, and what a row says of its pixels."""

import cv2
import numpy as np
import pytest

from data_contracts.dataset import Dataset
from data_contracts.records import Frame, Layer, Plate, Rejected
from data_contracts.stages import InpaintPlatesConfig
from models.pictures import keep_picture
from tasks.inpaint_plates import inpaint_plates

SIZE = (144, 256)  # height, width


def wall():
    rng = np.random.default_rng(4)
    picture = np.full((*SIZE, 3), (150, 110, 60), np.uint8)
    for x, y, w, h in rng.integers((0, 0, 8, 8), (SIZE[1], SIZE[0], 40, 40), (80, 4)).tolist():
        cv2.rectangle(picture, (x, y), (x + w, y + h), rng.integers((120, 80, 30), (230, 160, 90)).tolist(), -1)
    return picture


def shot(folder, ellipses):
    """Return frames and layers of blue ellipses ((x, y), (width, height), share of the mask that is kept)."""
    frames, layers, files = [], [], folder / "files"
    files.mkdir()
    for number, (centre, axes, kept) in enumerate(ellipses):
        picture, mask = wall(), np.zeros(SIZE, np.uint8)
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (40, 60, 200), -1)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
        mask[:, : max(0, int(centre[0] + axes[0] - 2 * axes[0] * kept))] = 0
        of = {"film": "f", "shot": "f:s0000", "frame": 8 * number, "time_s": number / 3}
        frame = Frame(
            id=f"f:{8 * number:06}", **of, image=keep_picture(files, picture), width=SIZE[1], height=SIZE[0],
            shot_start=0, shot_end=99, film_frames=99, sharpness=1, brightness=1, perceptual_hash="0" * 16,
        )  # fmt: skip
        layer = Layer(
            id=f"{frame.id}:t00", **of, frame_id=frame.id, track="f:s0000:t00", mask=keep_picture(files, mask),
            cutout="unread.png", box=(0, 0, 1, 1), area=0.1, sharpness=1, score=1,
        )  # fmt: skip
        frames.append(frame)
        layers.append(layer)
    return Dataset(Frame, folder, frames), Dataset(Layer, folder, layers)


def plates(folder, ellipses, **changed):
    frames, layers = shot(folder, ellipses)
    config = InpaintPlatesConfig(per_shot=1, views=0, **changed)
    (row,) = inpaint_plates.body(folder / "files", frames, layers, frames, layers, config=config)
    return row


def walk(kept=1.0):
    return [((44 + 56 * n, 84), (16, 40), kept) for n in range(4)]


def test_a_walker_leaves_a_plate_of_true_pixels(tmp_path):
    row = plates(tmp_path, walk())
    assert isinstance(row, Plate)
    assert (row.neighbour_share, row.other_shot_share, row.invented_share, row.residue_share) == (1, 0, 0, 0)
    assert np.array_equal(cv2.cvtColor(cv2.imread(str(tmp_path / "files" / row.image)), cv2.COLOR_BGR2RGB), wall())


@pytest.mark.parametrize(
    ("ellipses", "reason", "range_of_value"),
    [
        (walk(0.6), "character_left", (0.025, 1)),
        ([((128, 72), (50, 40), 1.0)] * 2, "mostly_invented", (0.1, 0.7)),
        ([((128, 72), (250, 250), 1.0)] * 2, "mostly_covered", (0.9, 1)),
    ],
)
def test_a_refused_plate_comes_with_its_number(tmp_path, ellipses, reason, range_of_value):
    row = plates(tmp_path, ellipses)
    assert isinstance(row, Rejected)
    assert row.reason == reason
    assert range_of_value[0] < row.value <= range_of_value[1]


def test_a_limit_of_one_keeps_what_shows_somebody(tmp_path):
    row = plates(tmp_path, walk(0.6), max_residue_share=1)
    assert isinstance(row, Plate)
    assert row.residue_share > InpaintPlatesConfig().max_residue_share
