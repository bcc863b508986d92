"""What the stage's rows say of masks that meet."""

import numpy as np

from data_contracts.dataset import read_rows, write_rows
from data_contracts.records import Frame, Layer
from models.segment.layering import layer_frame
from tasks.segment_layers import box_of, layer_of
from tests.models.sample_film import frames
from tests.models.true_masks import GIA, LUCA, SIZE, pair_masks, sighting


def test_a_layer_says_whether_another_covers_it(tmp_path):
    masks, picture = pair_masks()[0], next(iter(frames(4).values()))
    shift = np.flatnonzero(masks[GIA].any(axis=0)).min() - np.flatnonzero(masks[LUCA].any(axis=0)).min()
    hidden = np.roll(masks[LUCA], shift, axis=1)
    seen = {0: sighting(masks[GIA]), 1: sighting(hidden, sure=2.0)}
    of = {"film": "f", "shot": "f:s0000", "frame": 0, "time_s": 0.0}
    frame = Frame(
        id="f:000000", **of, image="0.png", width=SIZE[1], height=SIZE[0],
        shot_start=0, shot_end=9, film_frames=9, sharpness=1, brightness=1, perceptual_hash="0" * 16,
    )  # fmt: skip
    rows = [layer_of(tmp_path, frame, one, picture, box_of(one.alpha)) for one in layer_frame(0, seen, SIZE)]
    write_rows(tmp_path / "rows.parquet", rows)
    assert {row.track: row.depth for row in read_rows(tmp_path / "rows.parquet", Layer)} == {
        "f:s0000:t00": 0,
        "f:s0000:t01": 1,
    }
