"""The stage's own decisions: what is refused, with the number that decided, and what a row says of its pixels."""

import cv2
import numpy as np
import pytest

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import AssembleDatasetConfig
from data_contracts.records import Caption, Frame, Layer, Plate, Rejected
from data_contracts.stages import InpaintPlatesConfig
from models.inpaint.provenance import Origin
from models.pictures import keep_picture, read_grey
from tasks.crop_pixels import Sources, cut
from tasks.inpaint_plates import inpaint_plates

SIZE = (144, 256)  # height, width


def wall():
    rng = np.random.default_rng(4)
    picture = np.full((*SIZE, 3), (150, 110, 60), np.uint8)
    for x, y, w, h in rng.integers((0, 0, 8, 8), (SIZE[1], SIZE[0], 40, 40), (80, 4)).tolist():
        cv2.rectangle(picture, (x, y), (x + w, y + h), rng.integers((120, 80, 30), (230, 160, 90)).tolist(), -1)
    return picture


def shot(folder, ellipses, lit=None):
    """Return frames and layers of blue ellipses ((x, y), (width, height), share of the mask that is kept).

    lit: a box, x0, y0, x1, y1, that is bright in the first frame alone.
    """
    frames, layers, files = [], [], folder / "files"
    files.mkdir()
    for number, (centre, axes, kept) in enumerate(ellipses):
        picture, mask = wall(), np.zeros(SIZE, np.uint8)
        if lit and not number:
            picture[lit[1] : lit[3], lit[0] : lit[2]] = 255
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


def plates(folder, ellipses, lit=None, **changed):
    frames, layers = shot(folder, ellipses, lit)
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


def test_what_frames_disagree_on_is_told_and_too_much_of_it_refused(tmp_path):
    lit = (90, 70, 110, 90)  # behind the second of three walkers; the first and the third frame show it
    (told := tmp_path / "told").mkdir()
    row = plates(told, walk()[:3], lit)
    assert row.unsure_share == pytest.approx(400 / (144 * 256), rel=0.5)
    assert row.invented_share == 0
    assert row.neighbour_share == pytest.approx(1 - row.unsure_share / row.hole_share, abs=0.01)
    classes = read_grey(told / "files" / row.provenance)
    assert (classes[75:85, 95:105] == Origin.UNSURE).all()
    (strict := tmp_path / "strict").mkdir()
    refused = plates(strict, walk()[:3], lit, max_unsure_share=0.001)
    assert (refused.reason, refused.value) == ("mostly_unsure", pytest.approx(row.unsure_share, abs=1e-5))


def test_nothing_is_learnt_from_pixels_that_may_be_wrong(tmp_path):
    (files := tmp_path / "files").mkdir()
    classes = np.repeat(np.arange(5, dtype=np.uint8), 8)[None].repeat(
        16, axis=0
    )  # own, neighbour, network, other, unsure
    of = {"film": "f", "shot": "f:s0000", "frame": 0, "time_s": 0.0}
    plate = Plate(
        id="f:000000:plate", **of, frame_id="f:000000", image=keep_picture(files, np.full((16, 40, 3), 90, np.uint8)),
        provenance=keep_picture(files, classes), hole="unread.png", hole_share=0.8, neighbour_share=0.2,
        invented_share=0.2, sharpness=1,
    )  # fmt: skip
    crop = Caption(
        id="c", **of, source_id=plate.id, box=(0, 0, 40, 16), facets={}, text="empty scene", tokens=4, lint=()
    )
    sources = Sources(Dataset(Frame, tmp_path, []), Dataset(Plate, tmp_path, [plate]))
    _, learnt = cut(crop, sources, AssembleDatasetConfig(type="background", resolution=64))
    assert [int(learnt[4:-4, round(x * learnt.shape[1])].mean()) for x in (0.1, 0.3, 0.5, 0.7, 0.9)] == [
        255, 255, 0, 255, 0,  # own, neighbour, network, other shot, unsure
    ]  # fmt: skip
